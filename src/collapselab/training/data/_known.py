"""Image sets that the field uses, under the names they have on the Hugging Face Hub."""

from dataclasses import dataclass

from collapselab.training.data._images import Colour


@dataclass(frozen=True)
class Known:
    """What is known of a set before it is opened.

    Attributes:
        path: Name on the Hub.
        image: Column of the images.
        label: Column of the labels.
        colour: Grey or colour.
        size: Height and width that training uses.
        source: Key in ``references.bib``.
        test: Split with labels that is for testing.
        mean: Of each channel over the training images, from 0 to 1; None to take it from the images.
        sd: Likewise, standard deviation.
    """

    path: str
    image: str
    label: str
    colour: Colour
    size: int
    source: str
    test: str = "test"
    mean: tuple[float, ...] | None = None
    sd: tuple[float, ...] | None = None


# Of ImageNet at 224 x 224 pixels, as trained networks for it expect; its images are too many to look through first.
_IMAGENET_MEAN, _IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

KNOWN: dict[str, Known] = {
    "mnist": Known("ylecun/mnist", "image", "label", "grey", 28, "lecun1998"),
    "fashion_mnist": Known("zalando-datasets/fashion_mnist", "image", "label", "grey", 28, "xiao2017"),
    "kmnist": Known("tanganke/kmnist", "image", "label", "grey", 28, "clanuwat2018"),
    "cifar10": Known("uoft-cs/cifar10", "img", "label", "rgb", 32, "krizhevsky2009"),
    "cifar100": Known("uoft-cs/cifar100", "img", "fine_label", "rgb", 32, "krizhevsky2009"),
    "cifar100_coarse": Known("uoft-cs/cifar100", "img", "coarse_label", "rgb", 32, "krizhevsky2009"),
    # A hundred classes of ImageNet in full resolution, not the classes of the few-shot benchmark; its test images are
    # those that ImageNet has for validation.
    "mini_imagenet": Known("timm/mini-imagenet", "image", "label", "rgb", 84, "vinyals2016"),
    # Its own test split has no labels.
    "imagenet": Known(
        "ILSVRC/imagenet-1k",
        "image",
        "label",
        "rgb",
        224,
        "russakovsky2015",
        test="validation",
        mean=_IMAGENET_MEAN,
        sd=_IMAGENET_SD,
    ),
}
"""Short key to what is known."""
