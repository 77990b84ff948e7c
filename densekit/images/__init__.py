"""Images of levels: their layers, networks, densities and estimators."""

from densekit.images.conv_coupling import ConvCoupling
from densekit.images.dequantized import Dequantized
from densekit.images.factor import Factor
from densekit.images.pixelcnn_density import PixelCNN
from densekit.images.schema import Images
from densekit.images.squeeze import Squeeze

__all__ = ["ConvCoupling", "Dequantized", "Factor", "Images", "PixelCNN", "Squeeze"]
