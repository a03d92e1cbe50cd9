"""The process of one of several runs: the command line, which ends with the process that started it."""

from ssl_zoo.distributed.parent import end_with_parent

if __name__ == "__main__":
    end_with_parent()

    from ssl_zoo.cli import main

    main()
