"""What the operations of a network do to its symmetry, predicted from one traced forward pass without any image.

The package carries the name of its main function, and importing any part of it makes `eqviz.audit` this package. So it
can be called too, and `eqviz.audit(model, 28)` works whatever was imported before.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """`eqviz.audit.auditing.audit`."""
        from eqviz.audit.auditing import audit

        return audit(*arguments, **keywords)


sys.modules[__name__].__class__ = _CallablePackage
