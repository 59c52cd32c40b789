"""Recognizers of phones: a small one, and the teacher that it learns from on real speech."""

from revoice.models.phones.recognizer import BLANK as BLANK
from revoice.models.phones.recognizer import Recognizer as Recognizer
from revoice.models.phones.small import Phones as Phones
from revoice.models.phones.teacher import PhoneTeacher as PhoneTeacher
