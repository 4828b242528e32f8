"""Rows that show the same thing twice: pairs of pictures or texts, and the groups they form (chapter 05).

Exact and normalised duplicates have equal keys and are found by `cleaning`. Near-duplicates have no key in
common: they are found as pairs whose distance is below a threshold, and the threshold is a choice to be
measured.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, product

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

# 16 x 16 = 256 bits: with the usual 64, pictures that resemble each other (silhouettes do) get equal hashes
HASH_SIDE = 16
HASH_DISTANCE = 56  # bits of 256: generous, because `aligned_similarity` looks at each candidate again
PICTURE_SIMILARITY = 0.984
TEXT_SIMILARITY = 0.7
_SIDE, _SHIFT, _ENLARGED = 48, 3, 3  # pixels


def picture_hashes(pictures: Iterable[Image.Image]) -> np.ndarray:
    """Perceptual hashes bool (N, 256): the signs of a picture's coarsest waves.

    Nearly the same for nearly the same picture.

    Source: the pHash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
    by ImageHash.
    """
    return np.stack([imagehash.phash(picture, hash_size=HASH_SIDE).hash.ravel() for picture in pictures])


def near_hashes(hashes: np.ndarray, max_distance: int = HASH_DISTANCE) -> pd.DataFrame:
    """All pairs of rows whose hashes (N, bits) differ in at most `max_distance` bits.

    Columns: `first` < `second`, and `distance`.
    """
    signs = 2 * hashes.astype(np.float32) - 1  # (N, bits): the product of two rows is bits - 2 * distance
    distance = np.rint((hashes.shape[1] - signs @ signs.T) / 2).astype(int)  # (N, N)
    first, second = np.nonzero(np.triu(distance <= max_distance, k=1))
    return pd.DataFrame({"first": first, "second": second, "distance": distance[first, second]})


def aligned_similarity(pictures: list[Image.Image], pairs: pd.DataFrame) -> np.ndarray:
    """How alike the two pictures of each pair are, 0..1, when one is enlarged and shifted a little.

    Correlation does not notice brightness and contrast. Enlarging 48 pixels to up to 51 and shifting by up to
    3 make up for a crop, whichever of the two was cropped.
    """
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    inner = _SIDE - 2 * _SHIFT
    middle = slice(_SHIFT, _SHIFT + inner)
    centre = _unit(_squares(pictures, _SIDE)[:, middle, middle])  # (N, 42 * 42)
    best = np.full(len(pairs), -1.0)
    for side in range(_SIDE, _SIDE + _ENLARGED + 1):
        squares, rest = _squares(pictures, side), side - inner
        for down, right in product(range((rest + 1) // 2 - _SHIFT, rest // 2 + _SHIFT + 1), repeat=2):
            moved = _unit(squares[:, down : down + inner, right : right + inner])
            best = np.maximum(best, (centre[first] * moved[second]).sum(1))
            best = np.maximum(best, (moved[first] * centre[second]).sum(1))
    return best


def near_pictures(pictures: list[Image.Image], least_similarity: float = PICTURE_SIMILARITY) -> pd.DataFrame:
    """Pairs of near-duplicate pictures: candidates by hash, then confirmed by `aligned_similarity`.

    Args:
        pictures: upright, e.g. of `open_image`.
        least_similarity: 0..1; higher finds fewer pairs and is more often right.

    Returns:
        `first`, `second` (places in `pictures`), `distance` (bits), `similarity`.
    """
    pairs = near_hashes(picture_hashes(pictures))
    pairs["similarity"] = aligned_similarity(pictures, pairs)
    return pairs[pairs["similarity"] >= least_similarity].reset_index(drop=True)


def text_vectors(texts: list[str]):
    """Sparse (N, pieces), rows of length 1: the product of two rows is the similarity of their texts, 0..1.

    Each text is the shares of its pieces of 3 to 5 letters, weighted by their rarity (TF-IDF); a typing error
    spoils a few pieces, another sentence nearly all.
    """
    # "@anonymous @anonymous @anonymous" counts once: otherwise placeholders make strangers alike.
    texts = [re.sub(r"(?<!\S)(\S+)(?:\s+\1(?!\S))+", r"\1", text.casefold()) for text in texts]
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit_transform(texts)


def near_texts(texts: list[str], least_similarity: float = TEXT_SIMILARITY) -> pd.DataFrame:
    """Pairs of texts with nearly the same letters: `first`, `second`, `similarity` (0..1)."""
    vectors = text_vectors(texts)
    products = (vectors @ vectors.T).tocoo()
    keep = (products.row < products.col) & (products.data >= least_similarity)
    found = pd.DataFrame(
        {"first": products.row[keep], "second": products.col[keep], "similarity": products.data[keep]}
    )
    return found.sort_values(["first", "second"], ignore_index=True)


def equal_keys(keys: Iterable) -> pd.DataFrame:
    """All pairs of rows with equal keys (a hash of the file, a normalised text): `first` < `second`."""
    places = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    pairs = [pair for rows in places.values() for pair in combinations(rows, 2)]
    return pd.DataFrame(sorted(pairs), columns=["first", "second"], dtype=int)


def groups_of_pairs(pairs: pd.DataFrame, size: int) -> np.ndarray:
    """A group number for each of `size` rows: rows that pairs join, directly or through others, share one."""
    ones = np.ones(len(pairs))
    graph = coo_array((ones, (pairs["first"].to_numpy(), pairs["second"].to_numpy())), shape=(size, size))
    return connected_components(graph, directed=False)[1]


def joined_groups(frame: pd.DataFrame, pairs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows with their `group` widened, so that near-duplicates lie on one side of a split.

    All rows of the groups of two near-duplicates share one group afterwards.

    Args:
        frame: rows with `group`, and a fresh index.
        pairs: `first` and `second` are places in `frame`.

    Returns:
        The same rows, and the counts `pairs`, `groups_before`, `groups_after`.
    """
    codes, names = pd.factorize(frame["group"])
    between = pd.DataFrame({side: codes[pairs[side].to_numpy()] for side in ("first", "second")})
    joined = groups_of_pairs(between, len(names))  # (groups before,)
    first_name = pd.Series(names).groupby(joined).first()
    widened = frame.assign(group=first_name.to_numpy()[joined[codes]])
    return widened, {"pairs": len(pairs), "groups_before": len(names), "groups_after": len(first_name)}


def _squares(pictures: list[Image.Image], side: int) -> np.ndarray:
    """Grey float32 (N, side, side)."""
    return np.stack(
        [
            np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
            for picture in pictures
        ]
    )


def _unit(windows: np.ndarray) -> np.ndarray:
    """(N, H, W) as rows (N, H * W) with mean 0 and length 1, so that products of rows are correlations."""
    rows = windows.reshape(len(windows), -1)
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
