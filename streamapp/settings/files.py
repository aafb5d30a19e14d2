"""Secret settings from files: a folder with one file per setting, called as its variable. That is how Kubernetes mounts
a Secret; what is in a file is in no environment, and in no description of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import BaseSettings, EnvSettingsSource, NestedSecretsSettingsSource, PydanticBaseSettingsSource

from streamapp.errors import Misconfigured

FOLDER = "SECRETS_DIR"  # of the variable that names the folder, behind the prefix


class Sourced(BaseSettings):
    """Settings from the environment; where it says nothing, from the files."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, the first one that says something counts."""
        config = settings_cls.model_config
        assert isinstance(env_settings, EnvSettingsSource)
        folder = env_settings.env_vars.get(f"{config['env_prefix']}{FOLDER}".lower())
        if not folder:
            return init_settings, env_settings
        files = NestedSecretsSettingsSource(
            file_secret_settings, folder, secrets_nested_delimiter=config["env_nested_delimiter"]
        )
        return init_settings, env_settings, files


def named(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Variable → the path of its file, of every file in the folder that is called as ours are; {} without a folder.

    Raises `Misconfigured` for a folder that is not there: every secret would be missing.
    """
    folder = environment.get(prefix + FOLDER)
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise Misconfigured(f"{prefix}{FOLDER}={folder} is not a folder: mount the secrets there, or leave it out")
    return {file.name: str(file) for file in Path(folder).iterdir() if file.name.startswith(prefix)}
