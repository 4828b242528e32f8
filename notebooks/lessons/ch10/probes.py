"""Twenty questions that have nothing to do with comments: what a tuning may have cost (chapter 10)."""

QUESTIONS = {
    "What is the capital of France?": "paris",
    "What is the capital of Italy?": "rome",
    "What is the capital of Japan?": "tokyo",
    "Which planet do we live on?": "earth",
    "What is the largest ocean?": "pacific",
    "Who wrote Romeo and Juliet?": "shakespeare",
    "What colour is the sky on a clear day?": "blue",
    "What do bees make?": "honey",
    "What is the opposite of hot?": "cold",
    "What is the opposite of up?": "down",
    "Which animal barks?": "dog",
    "Which animal says meow?": "cat",
    "What is H2O?": "water",
    "How many days are in a week?": ("7", "seven"),
    "How many legs does a spider have?": ("8", "eight"),
    "What is 2 plus 2?": ("4", "four"),
    "What language is spoken in Spain?": "spanish",
    "What is the first month of the year?": "january",
    "Which metal has the symbol Fe?": "iron",
    "On which continent is Egypt?": "africa",
}


def share_right(replies: list[str]) -> float:
    """Share of the replies, in the order of `QUESTIONS`, that hold the word that was asked for."""
    wanted = [(words,) if isinstance(words, str) else words for words in QUESTIONS.values()]
    return sum(any(word in reply.lower() for word in words) for reply, words in zip(replies, wanted)) / len(
        wanted
    )
