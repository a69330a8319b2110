"""Wrong answers to notebook 13's exercises, and words of what they must be told."""


def told(threshold=0.5, swap=False, word="partly"):
    """A verdict that may cut elsewhere, mistake black for white, or use another word."""

    def answer(defocus, few):
        blurred = (defocus > threshold).mean()
        blurred = 1 - blurred if swap else blurred
        return "in focus" if blurred <= few else "out of focus" if 1 - blurred <= few + 1e-9 else word

    return answer


WRONG = [
    (1, 3.072, "six layers"),
    (1, 4.608, "four bytes"),
    (1, 0.576, "32 channels"),
    (1, 147.456, "Those are bits"),
    (1, 38.4, "too large"),
    (2, told(swap=True), "it is 'in focus'"),
    (2, told(word="sharp"), "not 'sharp'"),
    (2, told(0.49), "still counts as sharp"),
    (2, lambda defocus, few: "partly", "it is 'in focus'"),
]
