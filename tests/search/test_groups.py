"""Groups: every member is linked to the centre, a chain is cut, and what could be grouped is not left alone."""

import random

from ssl_zoo.search.groups import stars


def test_a_chain_is_cut_and_a_star_stays_whole() -> None:
    assert stars(5, [(0, 1), (1, 2), (2, 3), (3, 4)]) == [[1, 0, 2], [3, 4]]
    assert stars(5, [(2, 0), (2, 1), (2, 3), (2, 4), (2, 2)]) == [[2, 0, 1, 3, 4]]
    assert stars(9, []) == []


def test_on_random_links_members_are_linked_to_the_centre_and_in_one_group() -> None:
    for seed in range(50):
        source = random.Random(seed)
        links = {(source.randrange(30), source.randrange(30)) for _ in range(seed)}
        linked = {pair for a, b in links for pair in ((a, b), (b, a)) if a != b}
        found = stars(30, links)
        members = [i for group in found for i in group]
        assert len(members) == len(set(members)) and all(len(group) > 1 for group in found)
        assert all((group[0], i) in linked for group in found for i in group[1:])
        alone = {a for a, _ in linked} - set(members)
        assert not any((a, b) in linked for a in alone for b in alone)
        # By hand: take the sample with the most links left, with all of these, until there are none.
        by_hand, left = [], dict.fromkeys(range(30))
        while True:
            degree = {i: [j for j in left if (i, j) in linked] for i in left}
            centre = max(left, key=lambda i: (len(degree[i]), -i), default=None)
            if centre is None or not degree[centre]:
                break
            by_hand.append([centre, *sorted(degree[centre])])
            left = {i: None for i in left if i not in by_hand[-1]}
        assert sorted(by_hand) == sorted(found)
