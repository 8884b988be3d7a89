"""Arguments that would make a network of others' fetch something: they come out of files, and are not handed on."""

import re
from collections.abc import Mapping

from eqviz.errors import EqvizError
from eqviz.models.arguments import brief

_NAMES_A_FILE = re.compile(r"[/\\~:]|\.[a-z]\w*$", re.IGNORECASE)
_FETCHES = re.compile(
    r"(?:^|_)(?:weights?|pretrained|pretrain|resume|ckpt|checkpoint|load|download|url|hub|path|file|filename|dir|folder|"
    r"root|repo|target)(?:_|$)",
    re.IGNORECASE,
)


def fetches(key: str, value: object) -> bool:
    """Whether an argument of that name and value sounds as if a constructor fetched or loaded something by it.

    Numbers never do; text does where it looks like a file or an address, and, as `true` does, under a name such as
    `pretrained`, `weights` or `checkpoint_path`.

    >>> fetches("pretrained", True), fetches("head", "a/b.pt"), fetches("weights", 3), fetches("head", "flatten")
    (True, True, False, False)
    """
    items = value if isinstance(value, list | tuple) else [value]
    texts = [item for item in items if isinstance(item, str)]
    if any(_NAMES_A_FILE.search(text) for text in texts):
        return True
    return bool(_FETCHES.search(key)) and (bool(texts) or any(item is True for item in items))


def refuse_fetching(about: str, arguments: Mapping[str, object]) -> None:
    """Raise EqvizError for arguments, read in a folder of checkpoints, by which a network would fetch something.

    >>> refuse_fetching("eqviz.toml", {"width": 8, "head": "flatten"})
    """
    key = next((key for key, value in arguments.items() if fetches(key, value)), None)
    if key is not None:
        raise EqvizError(
            f"{about}: arguments.{key}", expected="arguments by which a network fetches no file and no address",
            found=brief(arguments[key]), fix="bind it in a function of your module, and name that as the model",
        )  # fmt: skip
