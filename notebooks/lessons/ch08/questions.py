"""The questions of the final quiz, each with the section of the course that answers it (chapter 08)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question with one right answer.

    Attributes:
        text: the question.
        options: three or four answers, in any order: the quiz shuffles them.
        right: place of the right one, counted from 0.
        explanation: why it is right; shown after every answer.
        section: the heading of the section that answers it, without the hashes, e.g. "2.6 Padding: what a
            rectangle costs".
    """

    text: str
    options: tuple[str, ...]
    right: int
    explanation: str
    section: str

    @property
    def chapter(self) -> str:
        """The two digits that the chapter's file name begins with."""
        return self.section.split(".")[0].zfill(2)


QUESTIONS = (
    Question(
        "A model has N parameters and is trained in float32 with AdamW. What do weights, gradients and "
        "AdamW's means take?",
        ("4 N bytes", "8 N bytes", "16 N bytes"),
        2,
        "Four bytes each for the weight, its gradient and the two running means. The activations come on top.",
        "1.6 What one training step holds in memory",
    ),
    Question(
        "An article says that a certain model “is the largest”. What is missing?",
        ("A date, a kind and a source", "The number of its layers", "The price of its training"),
        0,
        "A superlative is a query whose answer changes: it needs a date, says whether sparse models count, "
        "and names its source.",
        "1.3 A short history, in one dated table",
    ),
    Question(
        "`Normalize(mean, std)` is applied to pixels in 0..1. In which range are they afterwards?",
        ("In 0..1", "In -1..1", "It depends on mean and std"),
        2,
        "Scaling to 0..1 and standardising are two steps. Only with mean and std 0.5 does the second one "
        "give -1..1.",
        "2.5 Scale, standardise, augment",
    ),
    Question(
        "You pad a batch of texts, but pass no attention mask. What happens?",
        (
            "An error about shapes",
            "Answers change with the neighbours in the batch",
            "Nothing, padding is ignored anyway",
        ),
        1,
        "Without a mask the model reads padding like words, so an answer depends on how long the other texts "
        "are.",
        "2.6 Padding: what a rectangle costs",
    ),
    Question(
        "An `IterableDataset` that does not look at its worker is read with 4 workers. How often does each "
        "row arrive?",
        ("Once", "Four times", "Sometimes not at all"),
        1,
        "Every worker has a copy of the stream and reads all of it, unless the dataset takes only its "
        "worker's share.",
        "2.9 Streams: an `IterableDataset`, and the rows that arrive twice",
    ),
    Question(
        "What are the workers of a `DataLoader`?",
        ("Threads that use the GPU", "Processes on the CPU", "Copies of the model"),
        1,
        "Each worker is a process that prepares samples on the CPU. Samples travel to the main process, "
        "which feeds the device.",
        "2.10 Workers are processes on the CPU",
    ),
    Question(
        "Two batches of 32 rows and one of 4 have mean losses a, b and c. What is the mean loss of all rows?",
        ("(a + b + c) / 3", "(32 a + 32 b + 4 c) / 68", "The loss of the last batch"),
        1,
        "A mean of batch means counts a row of the small batch eight times as much. Add sums, and divide "
        "once.",
        "3.7 The loop grows: averages, accumulation, clipping",
    ),
    Question(
        "Why do learning rates decay during training?",
        (
            "To avoid vanishing gradients",
            "So that the last steps can settle near a minimum",
            "To save memory",
        ),
        1,
        "With noisy gradients a constant rate keeps jumping around a minimum at a distance. It has nothing "
        "to do with vanishing gradients.",
        "3.11 Why rates decay",
    ),
    Question(
        "A run of 2 N steps is stopped after N and resumed. What must a checkpoint hold so that the result "
        "is the same?",
        (
            "The weights",
            "Weights and optimizer state",
            "Weights, optimizer, schedule, and what decides the order of rows and the random draws",
        ),
        2,
        "Whatever the next step depends on. Weights alone lose the optimizer's means, the learning rate and "
        "the place in the data.",
        "3.17 Resume, and prove it",
    ),
    Question(
        "“BERT was pretrained on GLUE.” What is wrong?",
        (
            "It was pretrained on SQuAD",
            "GLUE is a benchmark, with labels, for comparing models",
            "BERT was never pretrained",
        ),
        1,
        "BERT was pretrained on texts without labels; on GLUE's tasks it was fine-tuned and compared.",
        "4.1 Choose: what did the model learn, and from what?",
    ),
    Question(
        "All weights of a network with BatchNorm and without dropout are frozen, and it is in training mode. "
        "Can its answers still change?",
        (
            "No, frozen is frozen",
            "Yes, BatchNorm goes on collecting statistics",
            "Only if the learning rate is high",
        ),
        1,
        "Running means and variances are buffers, not weights. A frozen BatchNorm belongs in evaluation mode.",
        "4.8 Freezing, and what still moves",
    ),
    Question(
        "LoRA with rank r beside a matrix of m x n weights: how many weights are trained?",
        ("r x (m + n)", "m x n / r", "r"),
        0,
        "One thin matrix of m x r and one of r x n. The large one stays frozen.",
        "4.9 LoRA: small matrices beside the frozen ones",
    ),
    Question(
        "AdamW's weight decay is called decoupled. From what?",
        ("From the learning rate", "From the gradient and its running means", "From the batch size"),
        1,
        "It shrinks weights directly. Added to the loss, the term would pass through Adam's scaling and act "
        "on each weight differently.",
        "4.10 Regularisation",
    ),
    Question(
        "Two pictures differ by one pixel row. Which check finds that they are copies?",
        ("An exact hash of the file", "A perceptual hash with a small distance", "The file name"),
        1,
        "Any changed byte changes an exact hash. A perceptual hash describes what is seen, so near copies "
        "lie near each other.",
        "5.6 Duplicates: exact, normalised, near",
    ),
    Question(
        "The validation score rose from epoch to epoch and fell in the last one. Which weights are tested?",
        ("The last ones, they saw most data", "Those of the best validation epoch", "The mean of all epochs"),
        1,
        "The validation rows choose the checkpoint. That choice is part of training, so the test rows must "
        "not take part in it.",
        "6.5 Train, validate, keep the best",
    ),
    Question(
        "Two sentences of one review: one is in the training rows, one in the test rows. What does the test "
        "score do?",
        ("It flatters the model", "It is too low", "Nothing, the sentences differ"),
        0,
        "Sentences of one review resemble each other, so the model has half seen the test. Split by group.",
        "7.4 Split by group",
    ),
    Question(
        "Stop words are removed before a pretrained encoder reads a comment. What happens to “This is not "
        "good”?",
        (
            "Nothing, “good” decides",
            "“not” may be gone, and with it the meaning",
            "The tokenizer puts them back",
        ),
        1,
        "The encoder has learnt from whole sentences, and words such as “not” carry the opinion.",
        "7.3 Cleaning: repair the storage, not the language",
    ),
    Question(
        "Precision is 1.0 and recall 0.1. What is F1?",
        ("0.55, their mean", "About 0.18, their harmonic mean", "0.1, the smaller one"),
        1,
        "2 x 1.0 x 0.1 / 1.1. The harmonic mean lies near the smaller of the two.",
        "7.9 Open the test set, once",
    ),
    Question(
        "Half of a matrix's weights are set to zero. How much smaller is its file, stored as it was before?",
        ("Half the size", "Nothing", "It depends on the learning rate"),
        1,
        "A zero in float32 takes four bytes like any other number. Cut rows and columns out, or use a sparse "
        "format and a kernel for it.",
        "8.3 Pruning: set weights to zero",
    ),
    Question(
        "90 requests take 10 ms and ten take 2 s. Which figure shows the ten?",
        ("The median", "The mean, it is about 0.2 s", "The 95th percentile, and the slowest one"),
        2,
        "The median does not see them, and the mean describes a service that no user has met.",
        "8.7 Serve it under load",
    ),
    Question(
        "Two processes train copies of a model on different rows, and nothing averages the gradients. What "
        "do you have?",
        (
            "One model, trained twice as fast",
            "Two models, each trained on half of the rows",
            "An error at the first step",
        ),
        1,
        "Nothing fails. The copies drift apart, and the one that is saved has seen half of the data.",
        "8.10 Many processes, one model",
    ),
    Question(
        "The stability index of a service's confidence rises far above its alarm level. What do you know?",
        (
            "The model has become worse",
            "Inputs or answers differ from the reference; the score is unknown",
            "The server is overloaded",
        ),
        1,
        "The index compares distributions without labels. Whether the score fell is known only after some of "
        "the new rows were labelled.",
        "8.8 Watch it: drift and false alarms",
    ),
)
