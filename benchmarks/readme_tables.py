"""Put a measured table into README.md, between the two markers that carry the name of the script that
measured it.
"""

from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def with_table(readme: str, name: str, table: str) -> str:
    """The README's text with `table` in the place of benchmarks/`name`.py."""
    begin, end = f"<!-- table: made by benchmarks/{name}.py -->", f"<!-- end of {name} -->"
    before, rest = readme.split(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def write(name: str, table: str) -> None:
    """Write the README with the new table."""
    README.write_text(with_table(README.read_text(encoding="utf-8"), name, table), encoding="utf-8")
