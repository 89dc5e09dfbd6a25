"""`python -m system_under_test.crm`"""

from system_under_test.crm.app import assemble
from system_under_test.service_kit import runtime

runtime.run("crm", assemble, calls_crm=False)
