"""Bodies of the routes of `olav.security.routes`."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StrictBool, model_validator

from olav.security.roles import Role
from olav.security.users import USERNAME

Username = Annotated[str, Field(pattern=f"^{USERNAME.pattern}$")]
Password = Annotated[SecretStr, Field(min_length=12, max_length=256)]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Login(Request):
    username: Annotated[str, Field(min_length=1, max_length=64)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=256)]


class NewUser(Request):
    username: Username
    password: Password
    role: Role


class UserChange(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("role", "disabled", "password")
            ]
        }
    )

    role: Role | None = None
    disabled: StrictBool | None = None
    password: Password | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.role is None and self.disabled is None and self.password is None:
            raise ValueError("give at least one of role, disabled, password")
        return self


class Account(BaseModel):
    username: str
    role: Role


class Token(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105
    expires_in: int
    user: Account


class SessionTimes(BaseModel):
    created_at: datetime
    expires_at: datetime


class Me(Account):
    session: SessionTimes


class User(Account):
    disabled: bool
    created_at: datetime
    updated_at: datetime


class UserList(BaseModel):
    users: list[User]
