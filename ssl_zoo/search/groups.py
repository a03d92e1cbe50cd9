"""Groups of samples that are linked pair by pair: a group is one sample and those that are linked to it directly."""

from __future__ import annotations

from collections.abc import Iterable


def stars(num: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return groups, each with its centre first: every other member is linked to the centre itself.

    The sample with the most links to samples that are in no group becomes the centre of the next one; of several the
    first. Single linkage would chain: of a picture, a crop of it and a crop of the crop, the first and the last need
    not be alike, and a long chain joins strangers. Complete linkage would split: a crop and a brighter copy of one
    picture are each linked to it, and perhaps not to each other. Of a star one member can be kept and the others left
    out, and each that is left out is a near duplicate of the one that stays.

    Args:
        num: of the samples.
        links: pairs of them.

    Returns:
        Groups of at least two, the largest first, of equal ones in the order of their centres; members ascending after
        the centre.
    """
    linked: dict[int, set[int]] = {}
    for one, other in links:
        if not (0 <= one < num and 0 <= other < num):
            raise ValueError(f"a link ({one}, {other}) between {num} samples")
        if one != other:
            linked.setdefault(one, set()).add(other)
            linked.setdefault(other, set()).add(one)
    by_degree: dict[int, set[int]] = {}
    for i, others in linked.items():
        by_degree.setdefault(len(others), set()).add(i)
    found = []
    for degree in range(max(by_degree, default=0), 0, -1):
        while by_degree.get(degree):
            centre = min(by_degree[degree])
            members = [centre, *sorted(linked[centre])]
            found.append(members)
            for i in members:
                by_degree[len(linked[i])].discard(i)
            for i in members:  # whoever is left has lost links to them
                for other in linked.pop(i):
                    if other in linked and other not in members:
                        by_degree[len(linked[other])].discard(other)
                        linked[other].discard(i)
                        by_degree.setdefault(len(linked[other]), set()).add(other)
    return sorted(found, key=lambda members: (-len(members), members[0]))
