"""The list of attacks: each is a function of the site that tells what was seen, and raises Succeeded where nothing stopped it."""

ROWS = []


def attack(who, what):
    """Registers an attack by `who` and the words of the threat model for it."""

    def register(function):
        ROWS.append((who, what, function))
        return function

    return register
