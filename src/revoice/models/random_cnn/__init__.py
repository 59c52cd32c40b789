"""Style transfer through random convolutions, without training."""

from revoice.models.random_cnn.model import RandomCNN as RandomCNN
