from __future__ import annotations

import logging

from sealflow.logs import cleaned_logs
from sealflow.resolver.redactor import Redactor


def test_log_records_are_clean_for_every_handler(caplog):
    redactor = Redactor()
    redactor.add("hunter2")
    with caplog.at_level(logging.DEBUG), cleaned_logs(redactor.clean):
        logger = logging.getLogger("some.library")
        logger.info("value %s and %r", "hunter2", {"k": "hunter2"})
        logger.info("bad format %d %d", "hunter2")
        logger.info("stack", stack_info=True)
        try:
            raise ValueError("hunter2")
        except ValueError:
            logger.exception("failed with hunter2")
    assert "hunter2" not in caplog.text
    assert caplog.text.count("***") >= 4
    assert "ValueError: ***" in caplog.text
    assert all(record.exc_info is None and record.args == () for record in caplog.records)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").info("hunter2 again")
    assert "hunter2 again" in caplog.text


def test_log_cleaning_nests(caplog):
    one, two = Redactor(), Redactor()
    one.add("hunter1")
    two.add("hunter2")
    factory = logging.getLogRecordFactory()
    with cleaned_logs(one.clean):
        with cleaned_logs(two.clean):
            logging.getLogger("x").warning("hunter1 hunter2")
        logging.getLogger("x").warning("hunter1 stays masked")
    assert "hunter1" not in caplog.text
    assert "hunter2" not in caplog.text
    assert logging.getLogRecordFactory() is factory
