/** What is used of dcm2niix, which comes without types. */
declare module '@niivue/dcm2niix' {
  export class Dcm2niix {
    worker: Worker | null;
    init(): Promise<boolean>;
    input(files: File[]): Conversion;
  }

  interface Conversion {
    /** Pattern of the files' names. */
    f(pattern: string): Conversion;
    /** Whether to write a description beside each. */
    b(value: 'y' | 'n'): Conversion;
    /** Whether to pack them. */
    z(value: 'y' | 'n'): Conversion;
    run(): Promise<File[]>;
  }
}
