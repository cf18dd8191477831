"""What units of a CNN respond to: one method per module, each importable alone.

The methods take images in [0, 1] of any size and number of channels and look at any CNN of
`Conv2d`, `ReLU`, `MaxPool2d`, `AvgPool2d` and `Linear` that torchvision's feature extraction can
trace: the book's networks, and torchvision's VGG, AlexNet and SqueezeNet.  Layers go by the names
that `named_modules` gives them.  No method changes the model or leaves hooks on it.
"""
