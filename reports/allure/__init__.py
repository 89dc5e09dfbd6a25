"""A run as results for Allure: one test a scenario, made from the run's folder when the run is over.

So it costs a gate nothing while it goes on, a scenario whose worker crashed has its result, and old runs can be shown.
(``pytest scenarios --alluredir DIR`` works as well: allure-pytest writes its own results then, with our verdicts.)
"""

from reports.allure.write import write_allure_results

__all__ = ["write_allure_results"]
