"""The licences of published data, and what they ask of whoever passes on a model that was trained on it."""

from dataclasses import dataclass
from importlib import resources

from tumorseg.training.package import FIGSHARE_LICENCE, LGG_LICENCE

LICENCE_NAME = "LICENSE"


@dataclass(frozen=True)
class Terms:
    """What a card says of the data and its licence.

    Attributes:
        name: of the data set, with its authors and year.
        data: what is in it.
        text: what its licence asks.
        notice: the file that goes with the model; "" where there is none.
    """

    name: str
    data: str
    text: str
    notice: str = ""


_TERMS = {
    LGG_LICENCE: Terms(
        "LGG MRI segmentation (Buda, Saha, Mazurowski 2019)",
        "LGG MRI segmentation, as published by Buda, Saha and Mazurowski (Computers in Biology and Medicine 109, "
        "2019): patients with lower-grade glioma of TCGA-LGG (The Cancer Imaging Archive), from five institutions; "
        "pre-contrast, FLAIR and post-contrast, 8 bits, not skull-stripped; the reference is the FLAIR abnormality, "
        "outlined by hand.",
        "The data is licensed CC BY-NC-SA 4.0, and so are these weights, as what was made from it: name the source "
        "(see LICENSE), use them for non-commercial purposes only, and pass on what you make of them under the same "
        "licence. The program around them is Apache-2.0; masks that you compute are yours, but made with a model "
        "for non-commercial use.",
        "cc-by-nc-sa-4.0.txt",
    ),
    FIGSHARE_LICENCE: Terms(
        "figshare brain tumour (Cheng 2017)",
        "Brain tumour dataset, as published by Cheng (figshare 2017, doi 10.6084/m9.figshare.1512427): "
        "contrast-enhanced T1-weighted slices with meningioma, glioma or pituitary tumour, in three planes; every "
        "slice shows a tumour.",
        "The data is licensed CC BY 4.0: name the source when you pass these weights on.",
        "cc-by-4.0.txt",
    ),
}
_UNKNOWN = Terms(
    "own data",
    "Data whose source is not known to the program.",
    "Nothing is known of the data's licence: ask whoever gave it before you pass these weights on.",
)


def terms_of(licence: str) -> Terms:
    """What is known of a licence, by `ModelSpec.data_licence`."""
    return _TERMS.get(licence, _UNKNOWN)


def licence_notice(licence: str) -> str:
    """The notice that must go with a model of this data; "" where nothing is known of its licence."""
    name = terms_of(licence).notice
    return (resources.files("tumorseg.training") / "licences" / name).read_text(encoding="utf-8") if name else ""
