export const octets = (count: number): string => (count === 1 ? '1 octet' : `${count} octets`);
