"""`python -m system_under_test.automation`"""

from system_under_test.automation.app import assemble
from system_under_test.service_kit import runtime

runtime.run("automation", assemble, calls_crm=True, acts=True)
