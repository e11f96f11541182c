import pytest

# What the tests of each network inherit shall say, too, what was compared.
pytest.register_assert_rewrite("tests.models.segmenter_contract")
