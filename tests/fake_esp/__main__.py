from tests.fake_esp.server import main

main()
