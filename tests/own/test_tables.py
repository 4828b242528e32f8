"""People's own tables: every row right, or named; no row swallowed, cut or merged in silence."""

import json

import pandas as pd
import pytest

from helpers import own
from helpers.data import cleaning
from helpers.errors import DataError, InputError

ROWS = [("The lamp works well", "good"), ("The chair broke at once", "bad")] * 15


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_with_other_names_separator_quotes_and_bom(tmp_path):
    file = write(
        tmp_path / "own.csv", '\ufeffnr;Bewertung;Text\n1;gut;"so; gut"\n\n2;schlecht;"zwei\nZeilen"\n'
    )
    frame, problems = own.from_table(file, text_column="Text", label_column="Bewertung")
    assert problems == []
    assert frame["text"].tolist() == ["so; gut", "zwei\nZeilen"]
    assert frame["label"].tolist() == ["gut", "schlecht"]


BAD = b"text,label\ngood one,pos\n,pos\nbad two,\none,two,three\n\xff\xfe oops,neg\nlast,neg\n"


def test_bad_rows_stop_with_a_line_each(tmp_path):
    file = write(tmp_path / "own.csv", BAD)
    with pytest.raises(DataError) as caught:
        own.from_table(file)
    text = str(caught.value)
    assert "4 bad entries" in text
    assert [problem.where for problem in caught.value.problems] == [
        f"row {number} of own.csv" for number in (3, 4, 5, 6)
    ]
    for line in (
        "row 3 of own.csv: the text is empty",
        "row 4 of own.csv: the label is empty",
        "row 5 of own.csv: expected 2 fields, found 3",
        "row 6 of own.csv: is not valid UTF-8",
    ):
        assert line in text
    assert "--on-bad skip" in text


def test_bad_rows_can_be_skipped_and_are_returned(tmp_path):
    frame, problems = own.from_table(write(tmp_path / "own.csv", BAD), on_bad="skip")
    assert frame["id"].tolist() == ["2", "7"]
    assert len(problems) == 4


def test_at_most_20_problems_are_listed_but_all_are_counted(tmp_path):
    file = write(tmp_path / "own.csv", "text,label\n" + ",x\n" * 33)
    with pytest.raises(DataError) as caught:
        own.from_table(file)
    assert str(caught.value).count("the text is empty") == 20
    assert "33 bad entries" in str(caught.value)
    assert "and 13 more" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "has no column 'text', found 'a', 'b'"),
        ("text,label\n", "holds no usable row"),
        ("text,label\nx,y\n".encode("utf-16"), "is UTF-16"),
    ],
)
def test_bad_csv_files(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        own.from_table(write(tmp_path / "own.csv", content))


def test_missing_csv(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        own.from_table(tmp_path / "none.csv")


def table(header: str, rows, separator: str = ",") -> str:
    return "\n".join([header, *(separator.join(row) for row in rows)]) + "\n"


def distinct(count: int) -> list[tuple[str, str]]:
    return [(f"{ROWS[n % 2][0]} {n}", ROWS[n % 2][1]) for n in range(count)]


def test_between_tabs_a_quotation_mark_is_a_character(tmp_path):
    rows = [(('"' if n % 6 == 0 else "") + text, label) for n, (text, label) in enumerate(distinct(60))]
    frame, problems = own.from_table(write(tmp_path / "own.tsv", table("text\tlabel", rows, "\t")))
    assert frame["text"].tolist() == [text for text, _ in rows]
    assert problems == []


def test_between_tabs_fields_may_still_be_quoted(tmp_path):
    content = 'text\tlabel\n"tab\there, ""so"" they say"\tgood\n"two\nlines"\tbad\n'
    frame, _ = own.from_table(write(tmp_path / "own.tsv", content))
    assert frame["text"].tolist() == ['tab\there, "so" they say', "two\nlines"]


@pytest.mark.parametrize("place", [0, 1, 30, 58, 59])
@pytest.mark.parametrize("header", ["text,label", "label,text"])
def test_a_quotation_mark_that_never_closes_is_named(place, header, tmp_path):
    rows = [[text, label] for text, label in distinct(60)]
    rows[place][0] = '"' + rows[place][0]
    if header == "label,text":
        rows = [row[::-1] for row in rows]
    file = write(tmp_path / "own.csv", table(header, rows))
    for on_bad in ("stop", "skip"):
        with pytest.raises(InputError, match=f"row {place + 2} of own.csv"):
            own.from_table(file, on_bad=on_bad)


@pytest.mark.parametrize("distance", [1, 2, 7])
def test_two_stray_quotation_marks_do_not_swallow_the_rows_between(distance, tmp_path):
    rows = [[text, label] for text, label in distinct(60)]
    rows[20][0] = '"' + rows[20][0]
    rows[20 + distance][0] += '"'
    with pytest.raises(InputError, match=r"row 22 of own[.]csv has a quoted field with line breaks"):
        own.from_table(write(tmp_path / "own.csv", table("text,label", rows)))


def test_texts_of_several_lines_are_no_fault(tmp_path):
    letters = [f"Dear all,\nI bought {n}, and it works.\nGood, very good\nYours, me" for n in range(20)]
    frame = pd.DataFrame({"text": letters, "label": ["good", "bad"] * 10})
    frame.to_csv(tmp_path / "own.csv", index=False)
    assert own.from_table(tmp_path / "own.csv")[0]["text"].tolist() == letters


def test_a_blank_behind_the_separator_is_layout(tmp_path):
    frame, _ = own.from_table(write(tmp_path / "own.csv", 'text, label\na, good\nb, "good"\nc, "bad, so"\n'))
    assert frame["label"].tolist() == ["good", "good", "bad, so"]


def test_blank_lines_count_but_are_no_rows(tmp_path):
    frame, _ = own.from_table(write(tmp_path / "own.csv", "\n\n\ntext,label\na,x\n\nb,y\n"))
    assert frame["id"].tolist() == ["5", "7"]


def test_a_text_of_any_length_is_read(tmp_path):
    long = "word " * 60_000
    frame, _ = own.from_table(write(tmp_path / "own.csv", f"text,label\n{long},x\nb,y\n"))
    assert len(frame["text"][0]) == len(long) - 1


def test_the_line_that_excel_puts_first_names_the_separator(tmp_path):
    frame, _ = own.from_table(write(tmp_path / "own.csv", "sep=;\r\ntext;label\r\na, b;x\r\n"))
    assert frame[["id", "text"]].values.tolist() == [["3", "a, b"]]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("own.csv", "text,label,label\na,x,y\n", "'label' stands 2 times in own.csv"),
        ("own.csv", "nothing here\nor here\n", "found only one; are the fields separated"),
        ("own.csv", 'text,label\n"a"b,x\n', "row 2 of own.csv .* quotation mark that does not fit"),
        ("own.csv", 'text,label\n"a \\"b\\" c",x\n', "row 2 of own.csv .* quotation mark that does not fit"),
        ("own.csv", b"PK\x03\x04\0\0\0", "is no text file"),
        ("own.xlsx", b"PK\x03\x04\0\0\0", "own.xlsx cannot be read"),
        ("own.parquet", b"PAR1 and nonsense", "own.parquet cannot be read"),
        ("own.jsonl", "[1, 2\n", "is no valid JSON"),
        ("own.jsonl", "5\n6\n", "holds no usable row"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(name, content, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence) as caught:
        own.from_table(write(tmp_path / name, content), on_bad="skip")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match="is a folder, expected a file"):
        own.from_table(tmp_path)


@pytest.mark.parametrize("role", ["text", "label", "group"])
def test_the_advice_names_the_option_of_the_missing_column(role, tmp_path):
    columns = [name for name in ("text", "label", "group") if name != role]
    file = write(tmp_path / "own.csv", ",".join(columns) + "\na,b\n")
    with pytest.raises(InputError, match=f"name yours with --{role}-column"):
        own.from_table(file, group_column="group")


def test_rows_without_a_group_stand_alone_and_are_counted(tmp_path):
    rows = [(text, label, "u1" if n < 4 else "") for n, (text, label) in enumerate(distinct(20))]
    file = write(tmp_path / "own.csv", table("text,label,user", rows))
    frame, _ = own.from_table(file, group_column="user")
    assert frame["group"].nunique() == 1 + 16
    assert frame.attrs["noticed"] == ["16 of 20 rows have no 'user': each stands alone"]


SAME = pd.DataFrame(
    {"text": ["so, so", "NA", "3.50", "zwei\nZeilen \U0001f600"], "label": ["1", "1.0", "007", "true"]}
)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet", "xlsx"])
def test_every_kind_of_file_gives_the_same_text(kind, tmp_path):
    """Nothing becomes a number, a date or a missing value on the way."""
    file = tmp_path / f"own.{kind}"
    writers = {
        "csv": lambda: SAME.to_csv(file, index=False),
        "tsv": lambda: SAME.to_csv(file, index=False, sep="\t"),
        "jsonl": lambda: SAME.to_json(file, orient="records", lines=True),
        "json": lambda: SAME.to_json(file, orient="records"),
        "parquet": lambda: SAME.to_parquet(file),
        "xlsx": lambda: SAME.to_excel(file, index=False),
    }
    writers[kind]()
    frame, problems = own.from_table(file)
    assert problems == []
    assert frame[["text", "label"]].values.tolist() == SAME.values.tolist()


def test_numbers_and_gaps_of_json_are_text(tmp_path):
    rows = [
        {"text": "a", "label": 1},
        {"text": "b", "label": True},
        {"text": None, "label": 2.5},
        {"label": []},
    ]
    file = write(tmp_path / "own.jsonl", "\n".join(map(json.dumps, rows)) + "\nno json\n")
    frame, problems = own.from_table(file, on_bad="skip")
    assert frame["label"].tolist() == ["1", "true"]
    assert [problem.what for problem in problems] == [
        "the text is empty",
        "column 'label' holds list, expected text",
        "is no JSON object (Expecting value: line 1 column 1 (char 0))",
    ]


def test_names_of_classes_in_a_parquet_file_are_used(tmp_path):
    from pyarrow import Table, parquet

    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "text": {"dtype": "string"}}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    content = Table.from_pydict({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata(described)
    parquet.write_table(content, tmp_path / "own.parquet")
    assert own.from_table(tmp_path / "own.parquet")[0]["label"].tolist() == ["pos", "neg"]


def test_an_excel_file_with_two_tables_is_refused(tmp_path):
    with pd.ExcelWriter(tmp_path / "own.xlsx") as book:
        SAME.to_excel(book, sheet_name="one", index=False)
        SAME.to_excel(book, sheet_name="two", index=False)
    with pytest.raises(InputError, match=r"2 sheets with rows \(one, two\), expected one"):
        own.from_table(tmp_path / "own.xlsx")


PAIRS = {
    "emoticons": [("Order arrived :)", "good"), ("Order arrived :(", "bad")],
    "emoji": [("It is \U0001f600", "good"), ("It is \U0001f621", "bad")],
    "signs": [("profit 5%", "up"), ("profit -5%", "down")],
    "symbols": [("sort in C", "c"), ("sort in C++", "c++"), ("sort in C#", "c#")],
    "case": [("Polish it", "verb"), ("polish it", "noun")],
    "hindi": [("रीना", "f"), ("रानी", "f"), ("राना", "m"), ("कमला", "f"), ("कमल", "m")],
    "thai": [("มา", "a"), ("มี", "b"), ("มู", "c")],
}


@pytest.mark.parametrize("kind", PAIRS)
def test_texts_that_a_model_can_tell_apart_are_no_copies(kind, tmp_path):
    rows = [(f"{text} {n}", label) for n in range(5) for text, label in PAIRS[kind]]
    frame, _ = own.from_table(write(tmp_path / "own.csv", table("text,label", rows)))
    kept, counts = cleaning.clean_comments(frame)
    assert counts["rows_out"] == counts["rows_in"] == len(kept) == len(rows)


def test_copies_but_for_case_and_punctuation_share_a_group(tmp_path):
    rows = [("So good!", "a"), ("so GOOD", "a"), ("So, good", "a"), ("other", "b")]
    frame, _ = own.from_table(write(tmp_path / "own.csv", "text\tlabel\n" + "\n".join(map("\t".join, rows))))
    kept, counts = cleaning.clean_comments(frame)
    assert kept["group"].tolist() == ["2", "2", "2", "5"]
    assert counts["near_copies_kept_together"] == 3


def test_text_file_lines(tmp_path):
    file = write(tmp_path / "a.txt", "one\r\n\r\nthree\n")
    with pytest.raises(DataError, match=r"line 2 of a.txt: the text is empty"):
        own.texts_from(file)
    good, _ = own.texts_from(file, on_bad="skip")
    assert (good.values, good.numbers) == (["one", "three"], [1, 3])
    assert own.texts_from(write(tmp_path / "mac.txt", "one\rtwo\r"))[0].values == ["one", "two"]
    assert own.texts_from(write(tmp_path / "sign.txt", "a \ufffd b"))[0].values == ["a \ufffd b"]


@pytest.mark.parametrize("text", ["", "  ", "&nbsp;", "\u200b", "\ufeff\u2060 &nbsp;"])
def test_a_text_of_nothing_gets_no_label(text):
    with pytest.raises(DataError, match="input 1: the text is empty"):
        own.texts_from([text])


def test_inputs_keep_their_columns_and_order(tmp_path):
    file = write(tmp_path / "own.csv", "id,text,price\n7,works,3.50\n,,1\n5,broke,4.00\n")
    good, problems = own.texts_from(file, on_bad="skip")
    assert good.columns == ["id", "text", "price"]
    assert good.records == [["7", "works", "3.50"], ["5", "broke", "4.00"]]
    assert good.numbers == [2, 4]
    assert str(problems[0]) == "row 3 of own.csv: the text is empty"


@pytest.mark.parametrize("header", ["label,text", "text,label"])
def test_a_field_that_swallows_one_row_is_seen(header, tmp_path):
    rows = [[label, text] for text, label in distinct(60)]
    rows[20][1], rows[21][1] = '"' + rows[20][1], rows[21][1] + '"'
    if header == "text,label":
        rows = [row[::-1] for row in rows]
        rows[21][0] = rows[21][0].rstrip('"') + '"'
    with pytest.raises(InputError, match=r"row 22 of own[.]csv"):
        own.from_table(write(tmp_path / "own.csv", table(header, rows)))


def test_between_tabs_one_short_row_does_not_unquote_the_others(tmp_path):
    lines = [f'text {n}\t"good, really"' for n in range(20)]
    frame, problems = own.from_table(
        write(tmp_path / "own.tsv", "\n".join(["text\tlabel", *lines, "broken"]) + "\n"), on_bad="skip"
    )
    assert set(frame["label"]) == {"good, really"}
    assert len(problems) == 1


@pytest.mark.parametrize("text", ["Hi\nNice, thanks\nBye", "Hello, world\nsecond line"])
def test_several_lines_to_be_labelled_are_noticed_at_most(text, tmp_path):
    pd.DataFrame({"id": [1, 2], "text": [text, "ok"]}).to_csv(tmp_path / "own.csv", index=False)
    good, problems = own.texts_from(tmp_path / "own.csv")
    assert (good.values, problems) == ([text, "ok"], [])


def test_the_separator_is_that_of_all_lines(tmp_path):
    file = write(tmp_path / "own.csv", "text;label;score (0, 1, 2, 3)\na, b;x;1\nc;y;2\n")
    assert own.from_table(file)[0]["text"].tolist() == ["a, b", "c"]


def test_a_large_group_and_groups_that_look_alike_are_asked_about(tmp_path):
    users = ["NULL"] * 12 + ["Anna", "anna", "Bo", "Cy", "Di", "Ed", "Flo", "Gus"]
    rows = [(text, label, user) for (text, label), user in zip(distinct(20), users)]
    file = write(tmp_path / "own.csv", table("text,label,user", rows))
    said = own.from_table(file, group_column="user")[0].attrs["noticed"]
    assert said[0] == "one 'user', 'NULL', holds 12 of 20 rows: is it a missing value?"
    assert "'Anna' and 'anna' look alike" in said[1]
