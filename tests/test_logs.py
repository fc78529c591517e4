from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import threading
from typing import ClassVar

import pytest

from sealflow import BaseNode, NodeConfig, Workflow, run_workflow
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


class _Heard(logging.Handler):
    """Keeps what it formats, as a file would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(threadName)s %(message)s"))
        self.lines: list[str] = []
        self.extras: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.extras.append(repr(vars(record)))

    @property
    def text(self) -> str:
        return "\n".join(self.lines + self.extras)


@pytest.fixture
def heard():
    handler, root = _Heard(), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@pytest.fixture
def clean(canary):
    redactor = Redactor()
    redactor.add("hunter2-token")
    return redactor.clean


def test_extra_is_cleaned_at_any_depth(heard, clean):
    with cleaned_logs(clean):
        logging.getLogger("x").warning("m", extra={"token": "hunter2-token", "deep": [{"hunter2-token": 1}]})
    assert "hunter2" not in heard.text


def test_extra_without_a_value_keeps_its_object(clean):
    class Handler(_Heard):
        def emit(self, record):
            self.lines.append(record.request)

    handler, logger, request = Handler(), logging.getLogger("x.objects"), object()
    logger.addHandler(handler)
    with cleaned_logs(clean):
        logger.warning("m", extra={"request": request})
    logger.removeHandler(handler)
    assert handler.lines == [request]


def test_an_extra_whose_repr_raises_is_described(heard, clean):
    class Broken:
        def __repr__(self):
            raise ValueError("hunter2-token")

    with cleaned_logs(clean):
        logging.getLogger("x").warning("m %s", "hunter2-token", extra={"broken": Broken()})
    assert "hunter2" not in "\n".join(heard.lines)


def test_a_record_made_by_hand_is_cleaned_at_a_logger_and_at_a_handler(heard, clean):
    with cleaned_logs(clean):
        logging.getLogger("x").handle(logging.makeLogRecord({"msg": "hunter2-token", "levelno": 40}))
        heard.handle(logging.makeLogRecord({"msg": "%s", "args": ("hunter2-token",), "levelno": 40}))
    assert len(heard.lines) == 2
    assert "hunter2" not in heard.text


def test_a_logger_with_a_make_record_of_its_own_is_cleaned(heard, clean):
    class Own(logging.Logger):
        def makeRecord(self, *args, **kwargs):
            record = super().makeRecord(*args, **kwargs)
            record.msg, record.args = "own: hunter2-token", ()
            return record

    logger = Own("own")
    logger.addHandler(heard)
    with cleaned_logs(clean):
        logger.warning("m")
    assert heard.lines
    assert "hunter2" not in heard.text


def test_a_record_factory_set_in_the_middle_switches_nothing_off(heard, clean):
    factory = logging.getLogRecordFactory()
    try:
        with cleaned_logs(clean):
            logging.setLogRecordFactory(logging.LogRecord)
            logging.getLogger("x").warning("hunter2-token")
        with cleaned_logs(clean):
            logging.getLogger("x").warning("again hunter2-token")
    finally:
        logging.setLogRecordFactory(factory)
    assert len(heard.lines) == 2
    assert "hunter2" not in heard.text


def test_notes_groups_and_causes_of_an_exception_are_cleaned(heard, clean):
    with cleaned_logs(clean):
        try:
            try:
                raise KeyError("hunter2-token")
            except KeyError as cause:
                group = ExceptionGroup("hunter2-token", [ValueError("hunter2-token")])
                group.add_note("note hunter2-token")
                raise group from cause
        except ExceptionGroup:
            logging.getLogger("x").exception("it broke")
    assert heard.text.count("***") >= 4
    assert "hunter2" not in heard.text.replace('"hunter2-token"', "")  # the source lines of this test


def test_a_plain_thread_that_outlives_the_run_is_cleaned(heard, clean):
    go = threading.Event()

    def late():
        go.wait(10)
        logging.getLogger("late").warning("hunter2-token")

    with cleaned_logs(clean):
        thread = threading.Thread(target=late)
        thread.start()
    go.set()
    thread.join()
    assert heard.lines
    assert "hunter2" not in heard.text


async def test_a_task_that_outlives_the_run_is_cleaned_also_when_its_exception_is_lost(heard, clean):
    go = asyncio.Event()

    async def late():
        await go.wait()
        logging.getLogger("late").warning("hunter2-token")
        raise ValueError("lost hunter2-token")

    with cleaned_logs(clean):
        task = asyncio.create_task(late())
    go.set()
    await asyncio.wait([task])
    ring = [task]
    ring.append(ring)
    del task, ring
    gc.collect()
    assert any("never retrieved" in line for line in heard.lines)
    assert "hunter2" not in heard.text.replace('ValueError("lost hunter2-token")', "")


def test_a_run_that_leaves_nothing_alive_is_forgotten_at_once(heard, clean):
    with cleaned_logs(clean):
        pass
    logging.getLogger("x").warning("hunter2-token")
    assert "hunter2" in heard.text


class Leaver(BaseNode):
    """Starts a thread and a task that log the token until they are told to stop, long after the run."""

    type_name = "leaver"
    stop: ClassVar[threading.Event]
    left: ClassVar[list]

    class Config(NodeConfig):
        token: str

    async def process(self, context, config):
        log = logging.getLogger("left.behind")

        def go_on():
            while not self.stop.wait(0.001):
                log.debug("token=%s", config.token)
            log.debug("last token=%s", config.token, extra={"token": config.token})

        thread = threading.Thread(target=go_on)
        thread.start()
        self.left.append(thread)
        # A large value is learned beside the token, while the thread logs.
        context.learn(config.token[::-1] + secrets.token_hex(30_000))
        log.debug("token=%s", config.token)
        await asyncio.to_thread(self.stop.wait, 60)


@pytest.mark.slow
async def test_50_runs_with_threads_that_outlive_them_log_no_value(service, canary, heard, caplog):
    caplog.set_level(logging.DEBUG)
    Leaver.stop, Leaver.left = threading.Event(), []
    tokens = [canary.value() for _ in range(50)]
    for number, token in enumerate(tokens):
        service.create_secret(f"s{number}", "bearer_token", {"token": token})
    try:
        for number in range(len(tokens)):
            node = Leaver("n", {"token": f"{{{{secrets.s{number}.token}}}}"}, timeout=0.02)
            execution = await run_workflow(Workflow("w", [node]), service=service)
            assert execution.nodes["n"].error["type"] == "TimeoutError"
            if number % 10 == 9:  # so that not all fifty log at once
                Leaver.stop.set()
                for thread in Leaver.left:
                    await asyncio.to_thread(thread.join)
                Leaver.stop, Leaver.left = threading.Event(), []
    finally:
        Leaver.stop.set()
    assert sum("last token=***" in line for line in heard.lines) == 50
    text = heard.text
    assert not [token for token in tokens if token in text]
