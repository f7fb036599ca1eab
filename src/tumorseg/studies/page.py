"""Pages of studies: one file that opens anywhere, in the style of the evaluation's report."""

import jinja2

from tumorseg import __version__
from tumorseg.evaluation.definitions import cut


def rendered(template: str, context: dict[str, object]) -> str:
    """A template of this room as HTML; styles of the evaluation's report are at hand.

    Args:
        template: its file name.
        context: what it names.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("tumorseg.studies", ""), jinja2.PackageLoader("tumorseg.evaluation", "")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cut"] = cut
    return environment.get_template(template).render(version=__version__, **context)
