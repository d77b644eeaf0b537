from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from lambent.config import FIELDS, Config, ConfigError, load, reference


def written(directory: Path, text: str, name: str = "lambent.toml") -> Path:
    file = directory / name
    file.write_text(text)
    return file


def test_with_nothing_said_the_defaults_stand(tmp_path: Path) -> None:
    config = load(environ={}, working_dir=tmp_path)
    assert config == Config(data_dir=tmp_path / ".lambent")


def test_later_sources_win(tmp_path: Path) -> None:
    written(tmp_path, 'port = 1001\nauth = "enforce"\nisolation = "root"\n')
    environ = {"LAMBENT_PORT": "1002", "LAMBENT_ISOLATION": "rootless"}
    config = load(environ=environ, flags={"port": 1003, "host": None}, working_dir=tmp_path)
    assert (config.port, config.isolation, config.auth, config.host) == (1003, "rootless", "enforce", "127.0.0.1")


def test_a_relative_data_directory_is_relative_to_where_it_was_said(tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir()
    file = written(elsewhere, 'data_dir = "state"\n')
    assert load(file, {}, working_dir=tmp_path).data_dir == elsewhere / "state"
    assert load(file, {"LAMBENT_DATA_DIR": "state"}, working_dir=tmp_path).data_dir == tmp_path / "state"


def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    written(tmp_path, "port = 7\n", "other.toml")
    assert load(environ={"LAMBENT_CONFIG": "other.toml"}, working_dir=tmp_path).port == 7


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "missing.toml", {}, working_dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        ("prt = 1", {}, "did you mean port?"),
        ("xyzzy = 1", {}, "there is no such setting;"),
        ("", {"LAMBENT_PROT": "1"}, "did you mean LAMBENT_PORT?"),
        ("port = 70000", {}, "port: must be from 0 to 65535, not 70000"),
        ("port = true", {}, "expected a whole number"),
        ("", {"LAMBENT_PORT": "many"}, "LAMBENT_PORT: expected a whole number from 0 to 65535, not 'many'"),
        ('auth = "enforced"', {}, "did you mean enforce?"),
        ('internet = "perhaps"', {}, "expected true or false"),
        ("account_id = 1234", {}, "expected twelve digits"),
        ('region = "moon"', {}, "expected the name of an AWS region"),
        ("allowed_origins = 3", {}, "expected a list of origins"),
        ('allowed_origins = ["example.net"]', {}, "example.net: expected an origin as browsers send it"),
        ("", {"LAMBENT_ALLOWED_ORIGINS": "https://a.example/x"}, "https://a.example/x: expected an origin"),
        ("data_dir = 3", {}, "expected a path"),
        ('data_dir = ""', {}, "expected a path"),
        ("port = ", {}, "not TOML"),
        ('host = ""', {}, "expected text that is not empty"),
    ],
)
def test_a_bad_setting_is_refused_with_what_would_do(
    tmp_path: Path, text: str, environ: dict[str, str], words: str
) -> None:
    written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(environ=environ, working_dir=tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_origins_are_a_list_in_the_file_and_separated_by_commas_in_the_environment(tmp_path: Path) -> None:
    written(tmp_path, 'allowed_origins = ["https://a.example", "http://b.example:8080"]\n')
    assert load(environ={}, working_dir=tmp_path).allowed_origins == ("https://a.example", "http://b.example:8080")
    environ = {"LAMBENT_ALLOWED_ORIGINS": "https://c.example, https://d.example"}
    assert load(environ=environ, working_dir=tmp_path).allowed_origins == ("https://c.example", "https://d.example")


def test_brokers_are_a_table_by_arn_name_or_id(tmp_path: Path) -> None:
    arn = "arn:aws:mq:us-east-1:000000000000:broker:mail:b-1"
    written(tmp_path, f'[brokers]\n"{arn}" = "amqps://mail.example:5671/"\norders = "amqp://[::1]"\n')
    assert load(environ={}, working_dir=tmp_path).brokers == (
        (arn, "amqps://mail.example:5671/"),
        ("orders", "amqp://[::1]"),
    )
    for wrong in (
        "https://mail.example",
        "amqp://user:secret@mail.example",
        "amqp://mail.example/host",
        "mail.example",
    ):
        with pytest.raises(ConfigError, match="without user or password"):
            load(environ={"LAMBENT_BROKERS": f"mail={wrong}"}, working_dir=tmp_path)
    with pytest.raises(ConfigError, match="its name or id alone"):
        load(environ={"LAMBENT_BROKERS": "a/b=amqp://mail.example"}, working_dir=tmp_path)


def test_endpoints_are_a_table_in_the_file_and_pairs_in_the_environment(tmp_path: Path) -> None:
    written(tmp_path, '[endpoints]\ns3 = "https://s3.example"\nkms = "http://kms.example:8080/x"\n')
    assert load(environ={}, working_dir=tmp_path).endpoints == (
        ("kms", "http://kms.example:8080/x"), ("s3", "https://s3.example"),
    )  # fmt: skip
    environ = {"LAMBENT_ENDPOINTS": "sqs=https://sqs.example, s3=https://other.example"}
    assert dict(load(environ=environ, working_dir=tmp_path).endpoints)["sqs"] == "https://sqs.example"


@pytest.mark.parametrize("wrong", ["s3", "s3=example.com", "S 3=https://x.example", "s3=https://"])
def test_an_endpoint_that_is_no_address_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match="expected a"):
        load(environ={"LAMBENT_ENDPOINTS": wrong}, working_dir=tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "lambent.example", "192.168.1.4"])
def test_an_open_door_or_checked_signatures_make_it_production(host: str) -> None:
    assert Config(host=host).production
    assert Config(auth="enforce").production
    assert not any(Config(host=local).production for local in ("127.0.0.1", "::1", "localhost", "127.1.2.3"))


def test_production_refuses_the_process_level_unless_told() -> None:
    with pytest.raises(ConfigError, match="allow_process_level"):
        Config(auth="enforce").refuse_level("process")
    Config(auth="enforce").refuse_level("rootless")
    Config(auth="enforce", allow_process_level=True).refuse_level("process")
    Config().refuse_level("process")


def test_the_internet_is_refused_where_cages_cannot_give_it() -> None:
    with pytest.raises(ConfigError, match="start Lambent as root"):
        Config(internet=True).refuse_level("rootless")
    Config(internet=True).refuse_level("root")
    Config(internet=True).refuse_level("process")
    with pytest.raises(ConfigError, match="means nothing without internet = true"):
        Config(internet_private=True).refuse_level("root")


def test_the_service_user_is_found_by_name_or_number() -> None:
    assert Config(service_user="123").service_ids() == (123, 123)
    assert Config(service_user="root").service_ids() == (0, 0)
    with pytest.raises(ConfigError, match="no user named"):
        Config(service_user="no-such-user-here").service_ids()


def test_every_setting_can_come_from_the_environment(tmp_path: Path) -> None:
    samples: dict[str, Any] = {"port": "1", "host": "::1", "data_dir": "x", "auth": "enforce", "isolation": "root"}
    samples |= {"allow_process_level": "yes", "service_user": "5", "account_id": "1" * 12, "region": "eu-west-1"}
    samples |= {"internet": "on", "idle_environment_s": "9", "freeze_after_ms": "1", "log_format": "json"}
    samples |= {"allowed_origins": "https://a.example", "internet_private": "on"}
    samples |= {"role_check": "always", "code_storage_mib": "1", "virtual_clock": "on", "account_concurrency": "9"}
    samples |= {"endpoints": "s3=https://s3.example", "kinesis_limits": "on", "snapstart_memory_mib": "64"}
    samples |= {"brokers": "mail=amqp://127.0.0.1"}
    samples |= {"ready_memory_mib": "1", "memory_reserve_mib": "1", "memory_wait_s": "1"}
    samples |= {"metrics_token": "0123456789abcdef"}
    assert set(samples) == set(FIELDS)
    config = load(environ={f"LAMBENT_{name.upper()}": value for name, value in samples.items()}, working_dir=tmp_path)
    changed = {name for name, value in attrs.asdict(config).items() if value != getattr(Config(), name)}
    assert changed == set(samples)


def test_every_setting_is_documented_and_the_page_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs" / "configuration.md"
    assert reference() in page.read_text(encoding="utf-8"), "run `python -m lambent.config` and paste its table"
    for name, field in FIELDS.items():
        assert field.metadata["doc"].endswith("."), name
