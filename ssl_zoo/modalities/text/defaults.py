"""What a first recipe on texts begins with: by their length, and whether a sample has several."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from ssl_zoo.data.defaults import Defaults, Given, Setting
from ssl_zoo.modalities.text.decode import Texts

SHORTEST, LONGEST = 16, 256
"""Token ids of a view."""


def text_defaults(samples: Iterable[Texts], given: Given) -> Defaults:
    """Return the settings of a first recipe on texts."""
    words, several, num = [], 0, 0
    for texts in samples:
        num += 1
        several += len(texts) > 1
        words += [len(text.split()) for text in texts]
    middle, together = int(median(words)), 2 * several > num
    length = SHORTEST
    while length < middle and length < LONGEST:
        length *= 2
    views = {
        "name": "spans", "tokenizer": "words", "num_words": 8192, "length": length,
        "scale": [0.7, 1.0] if together else [0.2, 0.5], "drop": 0.2,
    }  # fmt: skip
    spans = (
        "each view is nearly the whole of another text of the sample"
        if together
        else "a view is a fifth to a half of the text"
    )
    facts = {
        "length": f"{min(words)} to {max(words)} words, the median is {middle}",
        "texts of a sample": "several" if together else "one",
    }
    settings = (
        Setting("encoder", {"name": "bag_of_words", "width": 128}, "trains from nothing, in minutes on a CPU"),
        Setting("views", views, f"{length} words of a view; {spans}"),
        Setting("training.base_lr", 0.01, "with adamw, as in the shipped experiments on texts"),
        Setting("training.lr_scaling", "none", "the rate is that of one batch size"),
        Setting("training.optimizer", {"name": "adamw", "weight_decay": 1.0e-4}, "word vectors train slowly with sgd"),
    )
    return Defaults(facts, settings)
