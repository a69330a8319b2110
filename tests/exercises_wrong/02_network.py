"""Wrong answers to the exercises of notebook 02, and words that the message on each must contain."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def blend(weights, sides):
    return np.tensordot(weights, sides, 1)


WRONG = [
    (1, 5, "That is conv1_2"),
    (1, 9, "doubles the steps"),
    (1, 10, "each 3x3 adds four"),
    (1, 13, "adds one pixel"),
    (1, 16, "before the second pooling"),
    (1, 196, "one side"),
    (1, 12, "12 pixels is too small"),
    (2, 13_824, "a bias for each output channel"),
    (2, 9_248, "the 16 channels of the fused features"),
    (2, 4_640, "the layer's 32 channels"),
    (2, 1_568, "3 x 3 positions"),
    (2, 433, "its own kernel"),
    (2, 20_784, "Its output has 32 channels"),
    (2, 83_136, "question is about one"),
    (2, 20_000, "20000 weights is too large"),
    (3, lambda sides, weights, bias: None, "write its body"),
    (3, lambda sides, weights, bias: sigmoid(sides.mean()), "give one map"),
    (3, lambda sides, weights, bias: sigmoid(blend(weights, sides)), "bias is missing"),
    (3, lambda sides, weights, bias: blend(weights, sides) + bias, "sigmoid is missing"),
    (3, lambda sides, weights, bias: blend(weights, sigmoid(sides)) + bias, "then apply one sigmoid"),
    (3, lambda sides, weights, bias: sigmoid(blend(weights, sigmoid(sides)) + bias), "fused unchanged"),
    (3, lambda sides, weights, bias: sigmoid(np.maximum(blend(weights, sides) + bias, 0)), "Eq. 8's ReLU"),
    (3, lambda sides, weights, bias: sigmoid(sides.mean(0) + bias), "its own weight"),
    (3, lambda sides, weights, bias: sides[0], "from 0 to 1"),
    (3, lambda sides, weights, bias: sigmoid(sides[0]), "not that of a 1x1"),
]
