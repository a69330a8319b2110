"""Wrong answers to the exercises of notebook 02, and what they must be told."""

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
    (1, 16, "before the second one"),
    (1, 196, "one side"),
    (1, 12, "12 pixels is too small"),
    (2, 13_824, "a bias for each channel"),
    (2, 9_248, "the helper's 16 channels"),
    (2, 4_640, "the layer's own 32 channels"),
    (2, 1_568, "3 x 3 places"),
    (2, 433, "a kernel of its own"),
    (2, 20_784, "It makes 32 channels"),
    (2, 83_136, "one is asked for"),
    (2, 20_000, "20000 numbers is too large"),
    (3, lambda sides, weights, bias: None, "write its body"),
    (3, lambda sides, weights, bias: sigmoid(sides.mean()), "make one map"),
    (3, lambda sides, weights, bias: sigmoid(blend(weights, sides)), "bias is missing"),
    (3, lambda sides, weights, bias: blend(weights, sides) + bias, "sigmoid is missing"),
    (3, lambda sides, weights, bias: blend(weights, sigmoid(sides)) + bias, "then take one sigmoid"),
    (3, lambda sides, weights, bias: sigmoid(blend(weights, sigmoid(sides)) + bias), "blended as they are"),
    (3, lambda sides, weights, bias: sigmoid(np.maximum(blend(weights, sides) + bias, 0)), "Eq. 8's ReLU"),
    (3, lambda sides, weights, bias: sigmoid(sides.mean(0) + bias), "a weight of its own"),
    (3, lambda sides, weights, bias: sides[0], "between 0 and 1"),
    (3, lambda sides, weights, bias: sigmoid(sides[0]), "another map"),
]
