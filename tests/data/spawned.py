"""What a spawned process does in tests/data/test_spawn.py: it must be importable there."""


def batches(made: dict) -> dict[str, list]:
    """All batches of {name: (dataset, row numbers of each batch, collate)}; None for a stream of samples."""
    found = {}
    for name, (dataset, rows, collate) in made.items():
        samples = ([dataset[row] for row in batch] for batch in rows) if rows else iter(dataset)
        found[name] = [collate(batch) for batch in samples]
    return found
