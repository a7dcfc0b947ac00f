import { NotifyType } from 'tunnelwright/wire';

/**
 * The driver with the numbers for private use that RFC 9867 had while it was a draft (ikev2-qr-alt-04): libreswan 5.2 knows no others. They
 * are set before anything reads them.
 */
Object.assign(NotifyType, { USE_PPK_INT: 50209, PPK_IDENTITY_KEY: 50208 });
await import('./driver.ts');
