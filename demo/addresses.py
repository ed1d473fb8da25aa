"""The address on which Airflow listens, and the addresses under which it is reached."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Address:
    """Host and port on which Airflow listens."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        return self.host == "localhost" or (_is_ip(self.host) and ipaddress.ip_address(self.host).is_loopback)

    @property
    def every(self) -> bool:
        """Whether it listens on all addresses of this machine."""
        return _is_ip(self.host) and ipaddress.ip_address(self.host).is_unspecified

    @property
    def url(self) -> str:
        """The URL for programs of this machine."""
        return f"http://{self._name(self._local if self.every else self.host)}"

    @property
    def urls(self) -> list[str]:
        """The URLs that are printed, and the only ones that are accepted besides `localhost`."""
        if not self.every:
            return [self.url]
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        found = {one.address for all_ in psutil.net_if_addrs().values() for one in all_ if one.family == family}
        usable = sorted(one for one in found - {self._local} if "%" not in one)  # browsers accept no zone
        return [self.url, *(f"http://{self._name(one)}" for one in usable)]

    @property
    def accepted(self) -> list[str]:
        """The accepted values of the Host header."""
        localhost = [self._name("localhost")] if self.loopback or self.every else []
        return [*(url.removeprefix("http://") for url in self.urls), *localhost]

    @property
    def _local(self) -> str:
        """The loopback address of the same kind: on `::`, Airflow's server accepts no IPv4."""
        return "::1" if ":" in self.host else "127.0.0.1"

    def _name(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host.lower()
        return shown if self.port == 80 else f"{shown}:{self.port}"  # browsers leave out the default port


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
