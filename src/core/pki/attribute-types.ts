/** An attribute type of a distinguished name: how we print it and what else we read for it. */
interface AttributeType {
  readonly oid: string;
  readonly name: string;
  readonly aliases?: readonly string[];
  /** RFC 5280 appendix A fixes the string type of a few attributes; the others are DirectoryStrings. */
  readonly string?: 'printable' | 'ia5';
}

/**
 * RFC 4519 and PKCS #9 names. `SN` is the serial number and `S` the surname, as in swanctl.conf; other tools read `SN` as surname,
 * therefore neither is ever printed.
 */
const TYPES: readonly AttributeType[] = [
  { oid: '2.5.4.3', name: 'CN', aliases: ['commonName'] },
  { oid: '2.5.4.4', name: 'surname', aliases: ['S'] },
  { oid: '2.5.4.5', name: 'serialNumber', aliases: ['SN'], string: 'printable' },
  { oid: '2.5.4.6', name: 'C', aliases: ['countryName'], string: 'printable' },
  { oid: '2.5.4.7', name: 'L', aliases: ['localityName'] },
  { oid: '2.5.4.8', name: 'ST', aliases: ['stateOrProvinceName', 'SP'] },
  { oid: '2.5.4.9', name: 'STREET', aliases: ['streetAddress'] },
  { oid: '2.5.4.10', name: 'O', aliases: ['organizationName'] },
  { oid: '2.5.4.11', name: 'OU', aliases: ['organizationalUnitName'] },
  { oid: '2.5.4.12', name: 'T', aliases: ['title'] },
  { oid: '2.5.4.13', name: 'D', aliases: ['description'] },
  { oid: '2.5.4.17', name: 'postalCode' },
  { oid: '2.5.4.41', name: 'N', aliases: ['name'] },
  { oid: '2.5.4.42', name: 'G', aliases: ['givenName', 'GN'] },
  { oid: '2.5.4.43', name: 'I', aliases: ['initials'] },
  { oid: '2.5.4.44', name: 'generationQualifier' },
  { oid: '2.5.4.45', name: 'ID', aliases: ['uniqueIdentifier', 'x500UniqueIdentifier'] },
  { oid: '2.5.4.46', name: 'DNQ', aliases: ['dnQualifier'], string: 'printable' },
  { oid: '2.5.4.65', name: 'pseudonym' },
  { oid: '2.5.4.97', name: 'organizationIdentifier' },
  { oid: '0.9.2342.19200300.100.1.1', name: 'UID', aliases: ['userid'] },
  { oid: '0.9.2342.19200300.100.1.25', name: 'DC', aliases: ['domainComponent'], string: 'ia5' },
  { oid: '1.2.840.113549.1.9.1', name: 'E', aliases: ['emailAddress', 'Email'], string: 'ia5' },
  { oid: '1.2.840.113549.1.9.2', name: 'UN', aliases: ['unstructuredName'] },
  { oid: '1.2.840.113549.1.9.8', name: 'UA', aliases: ['unstructuredAddress'] },
  { oid: '2.16.840.1.113730.3.1.3', name: 'EN', aliases: ['employeeNumber'] },
];

const BY_OID = new Map(TYPES.map((type) => [type.oid, type]));
const BY_NAME = new Map(
  TYPES.flatMap((type) => [type.name, ...(type.aliases ?? [])].map((name) => [name.toLowerCase(), type.oid] as const)),
);

/** Short name of an attribute type, or its dotted form. */
export const attributeName = (oid: string): string => BY_OID.get(oid)?.name ?? oid;

/** Object identifier of a name, an alias (both in any case) or a dotted form. */
export const attributeOid = (name: string): string | undefined => (/^\d+(\.\d+)+$/.test(name) ? name : BY_NAME.get(name.toLowerCase()));

/** The string type that RFC 5280 appendix A demands of an attribute; undefined for a DirectoryString. */
export const attributeString = (oid: string): 'printable' | 'ia5' | undefined => BY_OID.get(oid)?.string;
