"""Keep what was expensive to make: a dataset that remembers its samples (chapters 02 and 06)."""

from torch.utils.data import Dataset


class CachedDataset(Dataset):
    """Wrap a map-style dataset and remember each sample in memory the first time it is made.

    Only for samples that never change: a random augmentation would be frozen at its first draw. Each worker
    process fills a cache of its own, so with workers the memory is spent once per worker.
    """

    def __init__(self, dataset: Dataset):
        self.dataset, self.samples = dataset, {}
        for name in ("labels", "lengths"):  # what evaluation and samplers ask for, as far as it is there
            if hasattr(dataset, name):
                setattr(self, name, getattr(dataset, name))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        if index not in self.samples:
            self.samples[index] = self.dataset[index]
        return self.samples[index]
