"""The documents that answers are made from: an OpenSearch index, searched by words and by vectors."""

from olav.documents.index import INDEX, Document, load, prepare, shipped
from olav.documents.search import Documents, Found

__all__ = ["INDEX", "Document", "Documents", "Found", "load", "prepare", "shipped"]
