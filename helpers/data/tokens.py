"""What a model does not see of texts: the end of long ones, and what its vocabulary lacks (chapter 07)."""

from dataclasses import dataclass

AT_ONCE = 10_000  # texts whose tokens are kept in memory at one time


@dataclass(frozen=True)
class TokenCounts:
    """Texts as a tokenizer cuts them up; counts of two sets of texts are added with `+`."""

    max_length: int  # tokens that the model reads of a text
    texts: int = 0
    longer: int = 0  # texts with more tokens, whose ends are cut
    tokens: int = 0  # special ones left out
    unknown: int = 0  # tokens that the vocabulary lacks: all of them look alike to the model
    with_unknown: int = 0  # texts that hold such a token

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        names = ("texts", "longer", "tokens", "unknown", "with_unknown")
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return TokenCounts(self.max_length, **sums)

    def sentences(self) -> list[str]:
        """What a person should know, nothing where all is well."""
        found = []
        if self.longer:
            cut = f"{self.longer:,} of {self.texts:,} texts are longer than {self.max_length} tokens"
            found.append(f"{cut} and were cut at their end; train with a larger --max-length to read more")
        if self.with_unknown:
            part = f"{self.unknown:,} of {self.tokens:,} tokens"
            where = f"in {self.with_unknown:,} of {self.texts:,} texts"
            found.append(f"{part}, {where}, are unknown to the model: to it all of these look alike")
        return found


def token_counts(tokenizer, texts: list[str], max_length: int) -> TokenCounts:
    """Count in `texts` what a model with this tokenizer does not see.

    Example: `token_counts(classifier.preprocessor, ["a" * 9000], 128).longer`
    """
    special, counts = tokenizer.num_special_tokens_to_add(), TokenCounts(max_length)
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        ids = tokenizer(part, truncation=False, add_special_tokens=False, verbose=False)["input_ids"]
        unknown = [row.count(tokenizer.unk_token_id) for row in ids]
        counts += TokenCounts(
            max_length,
            texts=len(part),
            longer=sum(len(row) + special > max_length for row in ids),
            tokens=sum(map(len, ids)),
            unknown=sum(unknown),
            with_unknown=sum(count > 0 for count in unknown),
        )
    return counts
