"""Bounces, complaints and automatic answers that come as mail: `read_report`."""

from delivery.inbound.reports.engine import read_report
from delivery.inbound.reports.report import Kind, Recipient, Report

__all__ = ["Kind", "Recipient", "Report", "read_report"]
