"""One file per word of the design."""

from xkit_crm.models.api_key import APIKey
from xkit_crm.models.attempt import Attempt
from xkit_crm.models.connection import Connection
from xkit_crm.models.crm_object import CRMObject
from xkit_crm.models.definition_version import DefinitionVersion
from xkit_crm.models.event_action import EventAction
from xkit_crm.models.event_definition import EventDefinition
from xkit_crm.models.invocation import Invocation
from xkit_crm.models.lane import Lane
from xkit_crm.models.mapping_version import MappingDraft, MappingVersion
from xkit_crm.models.marked_row import MarkedRow
from xkit_crm.models.model_binding import ModelBinding
from xkit_crm.models.notification import Notification
from xkit_crm.models.object_mapping import ObjectMapping
from xkit_crm.models.record_link import RecordLink
from xkit_crm.models.tally import Tally

__all__ = [
    "APIKey",
    "Attempt",
    "CRMObject",
    "Connection",
    "DefinitionVersion",
    "EventAction",
    "EventDefinition",
    "Invocation",
    "Lane",
    "MappingDraft",
    "MappingVersion",
    "MarkedRow",
    "ModelBinding",
    "Notification",
    "ObjectMapping",
    "RecordLink",
    "Tally",
]
