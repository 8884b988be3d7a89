"""Forward hooks on the orbit of the inputs: every layer is aligned and reduced at once, nothing is stored.

The package carries the name of its one public function, and importing any part of it makes `eqviz.capture` this
package. So it can be called too, and `eqviz.capture(model, images)` works whatever was imported before.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """`eqviz.capture.orbit_capture.capture`."""
        from eqviz.capture.orbit_capture import capture

        return capture(*arguments, **keywords)


sys.modules[__name__].__class__ = _CallablePackage
