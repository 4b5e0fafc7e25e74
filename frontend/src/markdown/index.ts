export { MdStream } from './stream.ts';
