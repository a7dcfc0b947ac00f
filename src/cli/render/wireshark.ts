/**
 * How to look inside with the folder that `--keylog` left: it is one that Wireshark starts with, and knows the ports and the keys from there.
 * @param capture name of the file in it, where there is one
 */
export function wiresharkHint(folder: string, capture?: string): string {
  const quoted = /^[\w./+@%=:,-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", "'\\''")}'`;
  const [holds, inside] = capture === undefined ? ['the keys', 'CAPTURE'] : [`${capture} and its keys`, `${quoted}/${capture}`];
  return [
    `${folder} holds ${holds}. To look inside${capture === undefined ? ' a capture' : ''}, with wireshark or tshark -r:`,
    `  WIRESHARK_CONFIG_DIR=${quoted} wireshark ${inside}`,
  ].join('\n');
}
