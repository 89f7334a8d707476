"""The environment is read into settings, or refused with the name of the variable."""

import dataclasses
from pathlib import Path

import pytest

from serving.settings import Settings, settings_table
from textclf.environment import usable_cores
from textclf.errors import ConfigError


def test_defaults():
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.model_path == Path("model")
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.model_server_workers == usable_cores() >= 1
    assert (settings.max_text_chars, settings.max_batch, settings.max_body_bytes) == (100_000, 1000, 2_097_152)
    assert settings.api_key == ""
    assert settings.log_text is False
    assert settings.cascade is True


def test_every_variable_is_read_and_others_are_not():
    values = {
        "MODEL_PATH": "/models/a b",
        "MODEL_NAME": "films-1.0",
        "HOST": "::1",
        "PORT": " 9000 ",
        "MODEL_SERVER_WORKERS": "3",
        "MODEL_SERVER_TIMEOUT": "7",
        "INFERENCE_THREADS": "2",
        "CASCADE": "off",
        "CACHE_BYTES": "0",
        "RULES": "rules.toml",
        "MAX_TEXT_CHARS": "10",
        "MAX_BATCH": "11",
        "MAX_BODY_BYTES": "12",
        "MAX_PENDING_BODY_BYTES": "14",
        "MAX_CONCURRENT": "13",
        "DRAIN_SECONDS": "15",
        "KEEP_ALIVE_SECONDS": "16",
        "MAX_REQUEST_WORDPIECES": "14",
        "MAX_WORKER_WORDPIECES": "15",
        "API_KEY": "s3cret!",
        "NEW_DATA_DIR": "/data",
        "NEW_DATA_MAX_BYTES": "0",
        "PAGE": "off",
        "EXPLAIN": "off",
        "EXPLAIN_MAX_EVALUATIONS": "9",
        "EXPLAIN_SECONDS": "0.5",
        "EXPLAIN_CONCURRENT": "3",
        "LOG_TEXT": "Yes",
        "PREDICTION_LOG_URL": "postgresql://user:pass@host/db",
        "PREDICTION_LOG_TEXT": "1",
        "PREDICTION_LOG_DAYS": "7",
        "PREDICTION_LOG_ROWS": "1000",
        "PREDICTION_LOG_BOTH_STAGES": "0.5",
        "MODEL_POLL_SECONDS": "0.5",
        "PROMETHEUS_MULTIPROC_DIR": "/run/metrics",
        "ROOT_PATH": "/texts/v1",
        "CORS_ORIGINS": "https://a.example, http://localhost:3000",
        "SAGEMAKER_BIND_TO_PORT": "9001",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "8",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "4",
    }
    assert set(values) == {item.name.upper() for item in dataclasses.fields(Settings)}
    settings = Settings.from_environment({**values, "model_path": "x", "OTHER": "y"})
    for name, value in dataclasses.asdict(settings).items():
        assert value != getattr(Settings(), name) or name == "model_server_workers"
    assert settings.port == 9000
    assert settings.log_text is True
    assert settings.model_poll_seconds == 0.5


def test_an_empty_variable_keeps_the_default():
    assert Settings.from_environment({"PORT": "", "API_KEY": "", "LOG_TEXT": " "}) == Settings()


@pytest.mark.parametrize("blanks", [" ", "\n", "\t \r\n", "\u00a0"])
def test_a_key_of_blanks_is_not_no_key(blanks):
    """A secret file of a newline must not open the server."""
    with pytest.raises(ConfigError, match=r"API_KEY: expected .*got blanks only; set a key"):
        Settings.from_environment({"API_KEY": blanks})
    assert Settings.from_environment({"API_KEY": "s3cret\n"}).api_key == "s3cret"


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "on"])
def test_switch_on(text):
    assert Settings.from_environment({"LOG_TEXT": text}).log_text is True


@pytest.mark.parametrize("text", ["0", "false", "False", "no", "off"])
def test_switch_off(text):
    assert Settings.from_environment({"LOG_TEXT": text}).log_text is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "80.0"),
        ("PORT", "8_080"),
        ("PORT", "٨٠"),
        ("MODEL_SERVER_WORKERS", "0"),
        ("MODEL_SERVER_WORKERS", "-2"),
        ("MODEL_SERVER_TIMEOUT", "0"),
        ("INFERENCE_THREADS", "auto"),
        ("CASCADE", "linear"),
        ("MAX_TEXT_CHARS", "1e5"),
        ("MAX_BATCH", "0"),
        ("MAX_BODY_BYTES", "2MB"),
        ("MAX_CONCURRENT", "0"),
        ("NEW_DATA_MAX_BYTES", "-1"),
        ("EXPLAIN", "shap"),
        ("EXPLAIN_MAX_EVALUATIONS", "1"),
        ("EXPLAIN_SECONDS", "0"),
        ("EXPLAIN_CONCURRENT", "0"),
        ("LOG_TEXT", "maybe"),
        ("LOG_TEXT", "2"),
        ("MODEL_POLL_SECONDS", "nan"),
        ("MODEL_POLL_SECONDS", "1_0"),
        ("MODEL_POLL_SECONDS", "inf"),
        ("MODEL_POLL_SECONDS", "1e400"),
        ("MODEL_POLL_SECONDS", "-1"),
        ("HOST", "127.0.0.1; rm"),
        ("PREDICTION_LOG_TEXT", "some"),
        ("PREDICTION_LOG_DAYS", "0"),
        ("PREDICTION_LOG_ROWS", "0"),
        ("PREDICTION_LOG_BOTH_STAGES", "1.5"),
        ("PREDICTION_LOG_BOTH_STAGES", "5 %"),
        ("PREDICTION_LOG_URL", "predictions.sqlite"),
        ("PREDICTION_LOG_URL", "postgresql://user:pa@ss@host/db"),
        ("DRAIN_SECONDS", "21"),
        ("KEEP_ALIVE_SECONDS", "-1"),
        ("API_KEY", "x" * 513),
        ("API_KEY", "with blank"),
        ("API_KEY", "schlüssel"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_variable(name, value):
    with pytest.raises(ConfigError, match=rf"{name}: expected .*got ") as caught:
        Settings.from_environment({name: value})
    if name in ("API_KEY", "PREDICTION_LOG_URL"):
        assert value not in str(caught.value)
    else:
        assert value in str(caught.value)


@pytest.mark.parametrize("values", [{"port": "80"}, {"log_text": 1}, {"max_batch": True}, {"model_path": "model"}])
def test_types_are_checked_without_an_environment_too(values):
    with pytest.raises(ConfigError):
        Settings(**values)


def test_the_prediction_log_is_on_and_without_texts():
    settings = Settings()
    assert settings.prediction_log_url == "sqlite:///prediction_log/predictions.sqlite"
    assert settings.prediction_log_text is False
    assert (settings.prediction_log_days, settings.prediction_log_rows) == (30, 1_000_000)
    assert Settings.from_environment({"PREDICTION_LOG_URL": "Off"}).prediction_log_url == "off"


def test_frozen_and_silent_about_key_and_password():
    settings = Settings(api_key="s3cret", prediction_log_url="postgresql://user:s3cret@host/db")
    assert "postgresql://user:***@host/db" in repr(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in f"{settings}"


def test_the_table_has_a_row_for_each_variable():
    lines = settings_table().splitlines()[2:]
    names = [line.split("`")[1] for line in lines]
    assert names == [item.name.upper() for item in dataclasses.fields(Settings)]
    assert "| 8080 |" in settings_table()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu.max": "broken"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_cores_of_a_container(files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert usable_cores(tmp_path) == expected
