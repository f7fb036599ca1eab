"""What a DICOM object says of its patient and study, copied from the image that it was made of."""

import logging
from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

logger = logging.getLogger(__name__)

_DEMANDED = (
    "AccessionNumber", "PatientBirthDate", "PatientID", "PatientName", "PatientSex", "ReferringPhysicianName",
    "StudyDate", "StudyID", "StudyInstanceUID", "StudyTime",
)  # fmt: skip
"""What an object must name, if only as unknown (type 2 of the standard's tables)."""

_PATIENT = (
    "BreedRegistrationSequence", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "EthnicGroupCodeSequence", "GeneticModificationsSequence", "GroupOfPatientsIdentificationSequence",
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence", "OtherPatientNames",
    "PatientAlternativeCalendar", "PatientBirthDateInAlternativeCalendar", "PatientBirthTime",
    "PatientBreedCodeSequence", "PatientBreedDescription", "PatientComments",
    "PatientDeathDateInAlternativeCalendar", "PatientIdentityRemoved", "PatientSpeciesCodeSequence",
    "PatientSpeciesDescription", "QualityControlSubject", "ReferencedPatientPhotoSequence",
    "ReferencedPatientSequence", "ResponsibleOrganization", "ResponsiblePerson", "ResponsiblePersonRole",
    "SourcePatientGroupIdentificationSequence", "StrainAdditionalInformation", "StrainCodeSequence",
    "StrainDescription", "StrainNomenclature", "StrainStockSequence", "TypeOfPatientID",
)  # fmt: skip
"""PS3.3 C.7.1.1, Patient."""

_STUDY = (
    "ConsultingPhysicianIdentificationSequence", "ConsultingPhysicianName", "IssuerOfAccessionNumberSequence",
    "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence", "ProcedureCodeSequence",
    "ReasonForPerformedProcedureCodeSequence", "ReferencedStudySequence",
    "ReferringPhysicianIdentificationSequence", "RequestingService", "RequestingServiceCodeSequence",
    "StudyDescription",
)  # fmt: skip
"""PS3.3 C.7.2.1, General Study."""

_PATIENT_STUDY = (
    "AdditionalPatientHistory", "AdmissionID", "AdmittingDiagnosesCodeSequence", "AdmittingDiagnosesDescription",
    "Allergies", "IssuerOfAdmissionIDSequence", "IssuerOfServiceEpisodeIDSequence", "LastMenstrualDate",
    "MeasuredAPDimension", "MeasuredLateralDimension", "MedicalAlerts", "Occupation", "PatientAge",
    "PatientBodyMassIndex", "PatientSexNeutered", "PatientSize", "PatientSizeCodeSequence", "PatientState",
    "PatientWeight", "PregnancyStatus", "ReasonForVisit", "ReasonForVisitCodeSequence", "ServiceEpisodeDescription",
    "ServiceEpisodeID", "SmokingStatus",
)  # fmt: skip
"""PS3.3 C.7.2.2, Patient Study."""

_TRIAL = (
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber", "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName",
    "ClinicalTrialSponsorName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointDescription", "ClinicalTrialTimePointID", "ClinicalTrialTimePointTypeCodeSequence",
    "ConsentForClinicalTrialUseSequence", "IssuerOfClinicalTrialProtocolID", "IssuerOfClinicalTrialSiteID",
    "IssuerOfClinicalTrialSubjectID", "IssuerOfClinicalTrialSubjectReadingID",
    "IssuerOfClinicalTrialTimePointID", "LongitudinalTemporalEventType", "LongitudinalTemporalOffsetFromEvent",
    "OtherClinicalTrialProtocolIDsSequence",
)  # fmt: skip
"""PS3.3 C.7.1.3 and C.7.2.3, Clinical Trial Subject and Study."""

_SPECIMEN = (
    "AlternateContainerIdentifierSequence", "ContainerComponentSequence", "ContainerDescription",
    "ContainerIdentifier", "ContainerTypeCodeSequence", "IssuerOfTheContainerIdentifierSequence",
    "SpecimenDescriptionSequence",
)  # fmt: skip
"""PS3.3 C.7.6.22, Specimen."""

_COPIED = ("SpecificCharacterSet", *_DEMANDED, *_PATIENT, *_STUDY, *_PATIENT_STUDY, *_TRIAL, *_SPECIMEN)
_PATIENT_GROUP = 0x0010
_BINARY = ("FD", "FL", "SL", "SS", "UL", "US")
"""Types that are numbers in a file, not text."""


def copy_identity(source: "Dataset", written: "Dataset") -> None:
    """Give an object the patient and study of its source; what the source does not say is left empty or out.

    What the source says of the patient and is not as DICOM demands is left out too: an age of 42 must be 042Y.
    """
    for keyword in _COPIED:
        if keyword == "SpecificCharacterSet" and not _is_known(source.get(keyword)):
            continue  # no reader could read names in it
        if keyword in source:
            element = deepcopy(source[keyword])
            if element.VR == "SQ":
                for item in element.value:
                    # Else the bytes of its elements are written as the source encodes them.
                    item.decode()
            written.add(element)
        elif keyword in _DEMANDED:
            setattr(written, keyword, None)
    _without_invalid(written)


def _is_known(character_set: object) -> bool:
    """Whether the standard names a character set, or each of several."""
    from pydicom.charset import python_encoding

    names = [character_set] if isinstance(character_set, str) or character_set is None else character_set
    return all((name or "") in python_encoding for name in names)  # type: ignore[attr-defined]


def is_valid(keyword: str, value: object) -> bool:
    """Whether an attribute may hold a value, by the rules for its type (PS3.5, 6.2)."""
    from pydicom import config
    from pydicom.datadict import dictionary_VR
    from pydicom.multival import MultiValue
    from pydicom.valuerep import validate_value

    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    kind = dictionary_VR(keyword)
    try:
        for each in values:
            validate_value(kind, each if kind in _BINARY else str(each), config.RAISE)
    except ValueError:
        return False
    return True


def _without_invalid(written: "Dataset") -> None:
    for element in written.group_dataset(_PATIENT_GROUP):
        if element.VR == "SQ" or element.value is None or is_valid(element.keyword, element.value):
            continue
        logger.info("%s is no valid %s and is left out of the segmentation", element.name, element.VR)
        if element.keyword in _DEMANDED:
            setattr(written, element.keyword, None)
        else:
            del written[element.tag]
