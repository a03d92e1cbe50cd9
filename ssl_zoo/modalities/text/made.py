"""Made texts on four topics, for examples and tests: `write_examples`.

Each text is a few sentences. Most of its words are the same in all topics, and the few of its topic are drawn from
many, so that two texts of one topic often share none of them: nearness in words says little. What belongs together is
seen only by which words come together, and the two views of a text are what shows it.
"""

from __future__ import annotations

import random
from pathlib import Path

TOPICS = {
    "sea": "anchor bay boat buoy captain cliff coral crab current deck dolphin ferry fish harbour island jetty kelp "
    "lagoon lighthouse mast net oar ocean oyster pier pirate port reef rudder sail sailor salt sand seal shark ship "
    "shore squid storm surf tide wave whale",
    "kitchen": "apron baker basil bowl bread broth butter cake carrot cheese chef cream cup dish dough egg flour fork "
    "garlic gravy herb honey jam kettle knife lemon menu oven pan pasta pepper pie plate recipe rice salad sauce soup "
    "spice spoon stew stove sugar tea",
    "music": "accordion album alto ballad band bass beat cello choir chord chorus concert drum duet encore fiddle "
    "flute guitar harmony harp hymn jazz lyric mandolin melody note opera orchestra organ piano pianist quartet rhythm "
    "singer solo sonata song stage string tempo tenor tune trumpet violin",
    "forest": "acorn antler badger bark bear beaver beetle berry birch branch bud cabin cedar deer elk fern fir fox "
    "fungus grove hare hedgehog hunter ivy leaf log lynx maple meadow moss mushroom nest oak owl path pine ranger root "
    "squirrel stump thicket trail twig wolf",
}  # fmt: skip
PATTERNS = (
    "the {} was near the {}",
    "there is a {} and there is no {}",
    "nobody saw the old {} or the new {}",
    "they talked about the {} until the {} came",
    "a small {} can be better than a large {}",
    "it was the {} that she liked and not the {}",
    "he asked for the {} and got the {}",
    "on that day the {} looked like a {}",
)
OTHERS = (
    "it was a long day", "we will see", "that is all that they said", "nobody knew why", "and then it was over",
    "she had been there before", "this happened a year ago", "he did not think so", "they came back the next day",
)  # fmt: skip


def text(topic: str, random_: random.Random) -> str:
    """Return a text of a topic: five sentences, two of them of no topic."""
    words = random_.sample(TOPICS[topic].split(), 6)
    sentences = [random_.choice(PATTERNS).format(*words[2 * i : 2 * i + 2]) for i in range(3)]
    sentences += random_.sample(OTHERS, 2)
    random_.shuffle(sentences)
    return " ".join(f"{sentence.capitalize()}." for sentence in sentences)


def write_examples(folder: str | Path, num: int = 500) -> Path:
    """Write a folder of texts, `train/TOPIC/*.txt` and `test/TOPIC/*.txt`, always the same ones.

    Args:
        folder: it is made.
        num: training texts of each topic; a fifth as many are for the test.

    Returns:
        the folder.
    """
    random_ = random.Random(0)
    for split, count in (("train", num), ("test", max(1, num // 5))):
        for topic in TOPICS:
            place = Path(folder) / split / topic
            place.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                (place / f"{i:04}.txt").write_text(text(topic, random_), encoding="utf-8")
    return Path(folder)
