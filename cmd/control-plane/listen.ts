import type { ListenAddress } from './config.ts';

/** Says which flag to change where an address cannot be had. */
export async function explainListen<T>(
  flag: string,
  address: ListenAddress,
  open: () => Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const where = `${address.host}:${address.port}`;
    const detail = error instanceof Error ? error.message : String(error);
    if (detail.includes('EADDRINUSE') || detail.includes('address already in use')) {
      throw new Error(`${flag} ${where} is in use by another process: choose another port`, { cause: error });
    }
    throw new Error(`${flag} ${where} cannot be opened: ${detail}`, { cause: error });
  }
}
