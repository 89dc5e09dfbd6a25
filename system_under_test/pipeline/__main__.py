"""`python -m system_under_test.pipeline`"""

from system_under_test.pipeline.app import assemble
from system_under_test.service_kit import runtime

runtime.run("pipeline", assemble, calls_crm=True)
