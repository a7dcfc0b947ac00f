/** The file format of strongswan.conf and swanctl.conf, and of what `swanctl --pretty` prints. */
export interface Settings {
  readonly [key: string]: string | number | readonly string[] | Settings | undefined;
}

export function writeSettings(settings: Settings, indent = ''): string {
  return Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      if (Array.isArray(value)) return `${indent}${key} = ${value.join(',')}\n`;
      if (typeof value === 'object') return `${indent}${key} {\n${writeSettings(value as Settings, `${indent}  `)}${indent}}\n`;
      return `${indent}${key} = ${value}\n`;
    })
    .join('');
}

/** Sections and values of `--pretty`: `key = value`, `key {` … `}`, `key = [` … `]`. A section whose name appears twice is kept twice, numbered. */
export interface Section {
  readonly [key: string]: string | string[] | Section;
}

export function parsePretty(text: string): Section {
  const root: Record<string, string | string[] | Section> = {};
  const open: Record<string, string | string[] | Section>[] = [root];
  let list: string[] | undefined;
  for (const line of text.split('\n').map((l) => l.trim())) {
    const here = open.at(-1)!;
    if (line === '') continue;
    if (list) {
      if (line === ']') list = undefined;
      else list.push(line);
    } else if (line === '}') {
      if (open.length > 1) open.pop();
    } else if (line.endsWith(' {')) {
      const section: Record<string, string | string[] | Section> = {};
      here[freeKey(here, line.slice(0, -2))] = section;
      open.push(section);
    } else if (line.endsWith(' = [')) {
      list = [];
      here[line.slice(0, -4)] = list;
    } else {
      const at = line.indexOf(' = ');
      if (at > 0) here[line.slice(0, at)] = line.slice(at + 3);
    }
  }
  return root;
}

function freeKey(section: Section, key: string): string {
  if (!(key in section)) return key;
  let number = 2;
  while (`${key}#${number}` in section) number++;
  return `${key}#${number}`;
}
