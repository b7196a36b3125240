"""Functions of the user's own: plain arithmetic, so that they run on numbers of any kind."""


def inverse_time(t):
    return 1 / (1 + t / 128)


def inverse_root(t):
    return (1 + t / 128) ** -0.5


def seven_eighths(cycle):
    return 0.875**cycle
