"""Wrong answers to the exercises of notebook 10, and words that the verdict on each must contain."""

import statistics
import time


def seconds(work, repeats, clock, warm_up=True):
    """Each of the later times."""
    if warm_up:
        work()
    found = []
    for _ in range(repeats):
        begun = clock()
        work()
        found.append(clock() - begun)
    return found


def median(work, repeats, clock, warm_up=True):
    return statistics.median(seconds(work, repeats, clock, warm_up))


def of_the_whole(work, repeats, clock):
    work()
    begun = clock()
    for _ in range(repeats):
        work()
    return (clock() - begun) / repeats


def twice_warmed_up(work, repeats, clock):
    work()
    return median(work, repeats, clock)


WRONG = [
    (1, lambda *given: None, "returns None"),
    (1, lambda k, c, m, h, w: k * k * c * m, "used at every position"),
    (1, lambda k, c, m, h, w: k * k * m * h * w, "depends on all input channels"),
    (1, lambda k, c, m, h, w: k * k * c * h * w, "number of output channels"),
    (1, lambda k, c, m, h, w: k * c * m * h * w, "k x k weights"),
    (1, lambda k, c, m, h, w: 2 * k * k * c * m * h * w, "one MAC, not two"),
    (1, lambda k, c, m, h, w: (k * k * c + 1) * m * h * w, "Do not count biases"),
    (1, lambda k, c, m, h, w: k * k * c * m * (h - k + 1) * (w - k + 1), "MACs, not"),
    (2, 128.08, "larger by 32 pixels"),
    (2, 128.9, "without padding"),
    (2, 140.9, "Both sides are padded"),
    (2, 184.4, "too large"),
    (2, 100, "too small"),
    (3, lambda work, repeats, clock: None, "returns None"),
    (3, lambda work, repeats, clock: median(work, repeats, clock, warm_up=False), "only warms up"),
    (3, lambda work, repeats, clock: median(work, repeats + 1, clock, warm_up=False), "only warms up"),
    (3, lambda work, repeats, clock: statistics.mean(seconds(work, repeats, clock)), "take the median"),
    (3, of_the_whole, "one disturbed call changes"),
    (3, lambda work, repeats, clock: min(seconds(work, repeats, clock)), "fastest call"),
    (3, lambda work, repeats, clock: median(work, repeats, time.perf_counter), "read the clock"),
    (3, twice_warmed_up, "call the work 6 times"),
    (3, lambda work, repeats, clock: max(seconds(work, repeats, clock)), "too large"),
]
